"""Standard input as a prompt set: read as often as a run needs, in the format that it is in."""

import io
import sys

import pytest

from coupled_core.config import PromptSetConfig
from coupled_core.errors import PromptSetError
from coupled_core.prompts.prompt_set import check_prompt_set, describe_files, read_prompt_set
from coupled_core.records import PromptGroup

FROM_STDIN = PromptSetConfig(uri="-")
JSON = '{"group_id": "a", "prompts": ["x", "y"]}\n'


def pipe(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


@pytest.mark.parametrize(
    "text",
    [
        JSON,
        f"\ufeff# a comment\n\n{JSON}",
        "group_id,prompt\na,x\na,y\n",
        "# tab\t, comma\ngroup_id\tprompt\na\tx\na\ty\n",
    ],
)
def test_the_format_is_known_by_the_first_line(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    pipe(monkeypatch, text)
    for _ in range(2):
        (group,) = read_prompt_set(FROM_STDIN)
        assert isinstance(group, PromptGroup)
        assert (group.prompts, group.source_file) == (("x", "y"), "<stdin>")


def test_the_same_input_has_the_same_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = []
    for text in (JSON, JSON, JSON.replace("x", "z")):
        pipe(monkeypatch, text)
        tags.append(describe_files(FROM_STDIN)[0].etag)
    assert tags[0] == tags[1] != tags[2]


def test_an_empty_or_a_missing_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, "")
    with pytest.raises(PromptSetError, match="<stdin> is empty"):
        check_prompt_set(FROM_STDIN)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(PromptSetError, match="nothing is piped into standard input"):
        check_prompt_set(FROM_STDIN)
