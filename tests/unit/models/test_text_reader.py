"""The quick look at texts never passes what their tokens would refuse."""

import random

import pytest
from transformers import CLIPTokenizer, T5Tokenizer

from coupled_core.config import RunConfig
from coupled_core.miniature import miniature_folder
from coupled_core.models.text_reader import TextReader
from coupled_core.runs.models import generation_of
from coupled_core.runs.refusals import readers_for

WORDS = ["a", "red", "kite", "meadow", "Zebra-like", "xylophone", "in", "the", "sky,", "...", "—"]


@pytest.fixture(scope="module", params=["main", "other", "judge"])
def reader(request: pytest.FixtureRequest) -> TextReader:
    config = RunConfig()
    readers = readers_for(config, generation_of(config.generation))
    found = {"main": readers.main, "other": readers.others[0], "judge": readers.judge}
    return found[request.param]


def test_no_text_is_passed_without_its_tokens_that_these_would_refuse(
    reader: TextReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(0)
    for _ in range(300):
        shared = rng.choice(["", " "]).join(rng.choices(WORDS, k=rng.randrange(40)))
        texts = [f"{shared} {' '.join(rng.choices(WORDS, k=3))}" for _ in range(2)]
        quick = reader.find_unreadable(texts)
        with monkeypatch.context() as patched:
            patched.setattr(TextReader, "_may_fail", lambda *_: True)
            assert reader.find_unreadable(texts) == quick


@pytest.mark.parametrize("reader", ["main", "other"], indirect=True)
def test_tokens_are_those_of_the_tokenizer_itself(reader: TextReader) -> None:
    kind, name = (
        (T5Tokenizer, "tokenizer_2") if "T5" in reader.name else (CLIPTokenizer, "tokenizer")
    )
    tokenizer = kind.from_pretrained(miniature_folder("flux"), subfolder=name)
    for text in ("A red kite, in a Meadow.", "傍晚 kite", "at noon " * 40):
        (reading,) = reader.read([text])
        ids = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids
        assert list(reading.tokens) == ids
