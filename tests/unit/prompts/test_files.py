"""Which files a prompt set has, and what the names of their folders say."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from coupled_core.config import PromptSetConfig
from coupled_core.errors import PromptSetError
from coupled_core.prompts.files import list_input_files
from coupled_core.prompts.prompt_set import describe_files, read_prompt_set
from coupled_core.records import PromptGroup
from coupled_core.storage.open_store import open_store
from tests.s3_servers import S3Server

PROMPTS = ["A kite in a meadow", "A car in a meadow"]


def put(path: Path, **columns: list[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"group_id": [path.stem], "prompts": [PROMPTS], **columns}), path)


def read(uri: str) -> dict[str, PromptGroup]:
    found = read_prompt_set(PromptSetConfig(uri=uri))
    return {group.group_id: group for group in found if isinstance(group, PromptGroup)}


def test_folders_give_columns_of_their_type(tmp_path: Path) -> None:
    put(tmp_path / "variation_kind=position" / "seed=7" / "a.parquet")
    put(tmp_path / "variation_kind=__HIVE_DEFAULT_PARTITION__" / "source=a%20b" / "b.parquet")
    groups = read(str(tmp_path))
    assert (groups["a"].variation_kind, groups["a"].seed, groups["a"].extra) == ("position", 7, {})
    assert (groups["b"].variation_kind, groups["b"].extra) == (None, {"source": "a b"})


def test_a_file_that_moves_to_another_folder_is_another_input(tmp_path: Path) -> None:
    tags = []
    for kind in ("pose", "position"):
        put(tmp_path / kind / f"variation_kind={kind}" / "a.parquet")
        tags.append(describe_files(PromptSetConfig(uri=str(tmp_path / kind)))[0].etag)
    assert tags[0] != tags[1]
    assert tags[0].split()[0] == tags[1].split()[0]


@pytest.mark.parametrize(
    ("folder", "columns", "message"),
    [
        ("seed=seven", {}, "gives column 'seed' the value 'seven', expected an integer"),
        ("seed=7", {"seed": [7]}, "column 'seed' stands in the file and in the name of its folder"),
        ("guidance_scale=3", {}, "column 'guidance_scale' would be ignored"),
    ],
)
def test_a_folder_that_cannot_be_right_is_named(
    tmp_path: Path, folder: str, columns: dict[str, list[object]], message: str
) -> None:
    put(tmp_path / folder / "a.parquet", **columns)
    with pytest.raises(PromptSetError, match=message):
        read(str(tmp_path))


def test_several_sets_add_up_in_order(tmp_path: Path) -> None:
    for name in ("b", "a"):
        put(tmp_path / f"{name}.parquet")
    uris = [f"{tmp_path}/{name}.parquet" for name in ("b", "a")]
    config = PromptSetConfig.model_validate({"uri": uris})
    groups = [group.group_id for group in read_prompt_set(config)]
    assert groups == ["b", "a"]
    assert [file.uri for file in describe_files(config)] == uris


def test_a_list_of_one_set_is_that_set() -> None:
    assert PromptSetConfig.model_validate({"uri": ["a"]}) == PromptSetConfig(uri="a")
    for nothing in ([], [7], 7):
        with pytest.raises(ValidationError, match="expected a location, or a list of them"):
            PromptSetConfig.model_validate({"uri": nothing})


PATTERNS = pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.parquet", ["set-1", "set-2", "top"]),
        ("set-?.parquet", ["set-1", "set-2"]),
        ("set-[!1].parquet", ["set-2"]),
        ("variation_kind=*", ["deep"]),
        ("**/*.parquet", ["deep", "set-1", "set-2", "top"]),
        ("variation_kind=*/deep*", ["deep"]),
    ],
)
FILES = (
    "set-1.parquet", "set-2.parquet", "top.parquet", "variation_kind=pose/deep.parquet",
    "_hidden.parquet", "_tmp/lost.parquet", "set-3.txt",
)  # fmt: skip


@PATTERNS
def test_a_pattern_names_files_and_folders(tmp_path: Path, pattern: str, names: list[str]) -> None:
    for name in FILES:
        put(tmp_path / name)
    groups = read(f"{tmp_path}/{pattern}")
    assert sorted(groups) == names
    assert "deep" not in groups or groups["deep"].variation_kind == "pose"


@PATTERNS
def test_a_pattern_of_a_bucket_names_the_same(
    tmp_path: Path,
    moto_server: S3Server,
    new_bucket: Callable[..., str],
    pattern: str,
    names: list[str],
) -> None:
    put(tmp_path / "any.parquet")
    uri = new_bucket(moto_server)
    for name in FILES:
        open_store(uri).write(f"sets/{name}", (tmp_path / "any.parquet").read_bytes())
    found = list_input_files(f"{uri}/sets/{pattern}")
    assert sorted(Path(file.name).stem for file in found) == names


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    put(tmp_path / "set[1].parquet")
    put(tmp_path / "set1.parquet")
    assert list(read(f"{tmp_path}/set[1].parquet")) == ["set[1]"]


def test_a_pattern_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PromptSetError, match="does not exist: expected a file"):
        read(f"{tmp_path}/*.parquet")
