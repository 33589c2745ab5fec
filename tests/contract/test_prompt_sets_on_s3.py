"""Prompt sets in a bucket, read through a real S3 server on loopback."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coupled_core.config import PromptSetConfig
from coupled_core.errors import PromptSetError
from coupled_core.prompts.prompt_set import check_prompt_set, read_prompt_set
from coupled_core.records import PromptGroup
from coupled_core.storage.open_store import open_store

NewBucket = Callable[[Any], str]


def _upload(uri: str, key: str, tmp_path: Path, num_groups: int) -> str:
    path = tmp_path / "set.parquet"
    stem = key.removesuffix(".parquet")
    ids = [f"{stem}-{i}" for i in range(num_groups)]
    prompts = [["A kite in a meadow", "A car in a meadow"]] * num_groups
    pq.write_table(pa.table({"group_id": ids, "prompts": prompts}), path)
    open_store(uri).upload_file(key, path)
    return f"{uri}/{key}"


@pytest.mark.parametrize("server_name", ["moto_server", "rclone_server"])
def test_one_file_and_a_prefix_are_read(
    server_name: str, request: pytest.FixtureRequest, new_bucket: NewBucket, tmp_path: Path
) -> None:
    root = f"{new_bucket(request.getfixturevalue(server_name))}/prompts"
    one = _upload(root, "a.parquet", tmp_path, 3)
    _upload(root, "b.parquet", tmp_path, 2)
    config = PromptSetConfig(uri=one)
    groups = list(read_prompt_set(config))
    assert [g.group_id for g in groups if isinstance(g, PromptGroup)] == ["a-0", "a-1", "a-2"]
    assert groups[0].source_file == one
    summary = check_prompt_set(PromptSetConfig(uri=root))
    assert summary.num_groups == 5
    assert [f.uri for f in summary.files] == [one, f"{root}/b.parquet"]
    assert all(f.etag for f in summary.files)


def test_a_missing_object_is_told_plainly(moto_server: Any, new_bucket: NewBucket) -> None:
    uri = f"{new_bucket(moto_server)}/nothing.parquet"
    with pytest.raises(PromptSetError, match=r"nothing.parquet' does not exist"):
        check_prompt_set(PromptSetConfig(uri=uri))


def test_text_files_of_a_prefix_are_read_as_those_of_a_folder(
    moto_server: Any, new_bucket: NewBucket
) -> None:
    uri = f"{new_bucket(moto_server)}/prompts"
    store = open_store(uri)
    store.write("seed=7/a.csv", b"group_id,prompt\na,one\na,two\n")
    store.write("b.jsonl", b'{"group_id": "b", "prompts": ["one", "two"]}\n')
    for given in (uri, f"{uri}/**/*"):
        groups = list(read_prompt_set(PromptSetConfig(uri=given)))
        assert [(g.group_id, g.seed) for g in groups if isinstance(g, PromptGroup)] == [
            ("b", None),
            ("a", 7),
        ]
    assert [file.num_rows for file in check_prompt_set(PromptSetConfig(uri=uri)).files] == [1, 2]
