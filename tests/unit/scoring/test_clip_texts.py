"""A CLIP in a folder reads texts as open_clip's tokenizer of it does, without torch."""

import shutil
from pathlib import Path

import pytest

from coupled_core.miniature import miniature_folder
from coupled_core.scoring.clip_texts import load_clip_reader, load_tokenizer, make_clip_reader

_TEXTS = (
    "An owl on a rock in a misty meadow at noon.",
    "  TWO   blanks\tand\nlines &amp; &quot;quotes&quot; ",
    "caf\u00e9 \u2014 na\u00efve \u201cquotes\u201d, it\u2019s",
    "\u72d0\u72f8 in a meadow \U0001f98a",
    "ａｎ ｏｗｌ",
    "mojibake: schÃ¶n",
    "",
    "a kite " * 40,
)


@pytest.fixture
def spec(tmp_path: Path) -> str:
    shutil.copytree(miniature_folder("clip"), tmp_path / "clip")
    return f"local-dir:{tmp_path / 'clip'}"


def test_what_is_read_without_open_clip_is_what_open_clip_reads(spec: str) -> None:
    found = load_clip_reader(spec)
    wanted = make_clip_reader(load_tokenizer(spec), found.name)
    assert found.read(_TEXTS) == wanted.read(_TEXTS)
    for name in ("name", "limit", "num_marks", "unknown_id", "blank_id", "in_windows", "window"):
        assert getattr(found, name) == getattr(wanted, name)
