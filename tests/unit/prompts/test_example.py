"""The example prompt set: it explains every column, and is read as it stands."""

from pathlib import Path

import pytest

from coupled_core.config import PromptSetConfig
from coupled_core.errors import ConfigError
from coupled_core.prompts.columns import Form, known_columns
from coupled_core.prompts.example import make_example
from coupled_core.prompts.prompt_set import check_prompt_set

FORMS: dict[str, Form] = {"a.csv": "long", "a.TSV": "long", "a.jsonl": "wide", "a.ndjson": "wide"}


@pytest.mark.parametrize("name", FORMS)
def test_it_is_read_as_it_stands(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(make_example(name))
    summary = check_prompt_set(PromptSetConfig(uri=str(tmp_path / name)))
    assert (summary.num_groups, summary.num_prompts, summary.num_quarantined) == (3, 7, 0)
    assert summary.files[0].unknown_columns == ()


@pytest.mark.parametrize("name", FORMS)
def test_its_comments_explain_every_column(name: str) -> None:
    lines = make_example(name).splitlines()
    explained = {line.split()[1] for line in lines if line.startswith("#   ")}
    assert explained == known_columns(FORMS[name])
    assert max(len(line) for line in lines if line.startswith("#")) <= 100


@pytest.mark.parametrize("name", ["a.parquet", "a.csv.gz", "a.txt", "prompts"])
def test_names_of_files_that_nobody_edits_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"expected one that ends in .csv, .tsv or .jsonl"):
        make_example(name)
