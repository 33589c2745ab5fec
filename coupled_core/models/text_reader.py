"""What a model reads of a text: its tokenizer, how many tokens it takes, and what it cannot read.

Whoever has a tokenizer makes a `TextReader` of it; nothing here loads a model or a vocabulary.
"""

import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

from coupled_core.errors import ModelUnavailableError
from coupled_core.records import Rejection, RejectReason

Encode = Callable[[Sequence[str]], list[list[int]]]
"""Returns the tokens of each text: all of them, however many, without begin and end marks."""

_BLANK = "\u2581"
"""What T5 and its kind write for a space; before an unknown word it is a token of its own."""
_USUAL = string.ascii_letters + string.digits + " .,:!?'-()"


@dataclass(frozen=True)
class Reading:
    """A text as a tokenizer splits it."""

    tokens: tuple[int, ...]
    """All of them, without begin and end marks."""
    num_telling: int
    """Tokens that stand for more than a blank."""
    num_unknown: int
    """Those among them that stand for anything that the vocabulary lacks."""


@dataclass(frozen=True, eq=False)
class TextReader:
    """A tokenizer, and how much of what it returns a model reads."""

    name: str
    """Whose it is, for people."""
    limit: int
    """Tokens that the model reads, begin and end marks included."""
    num_marks: int
    """Begin and end marks of every text."""
    encode: Encode
    unknown_id: int | None = None
    """Stands for what the vocabulary lacks; None: it lacks nothing."""
    blank_id: int | None = None
    """Stands for a space alone; None: spaces are no tokens."""
    in_windows: bool = False
    """Longer texts are read window by window; otherwise what comes behind the first is cut off."""

    @property
    def window(self) -> int:
        """Tokens of a text that the model reads at once."""
        return self.limit - self.num_marks

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Return how each text is split."""
        return [
            Reading(
                tuple(tokens),
                len(tokens) - tokens.count(self.blank_id),  # type: ignore[arg-type]
                tokens.count(self.unknown_id),  # type: ignore[arg-type]
            )
            for tokens in self.encode(texts)
        ]

    def find_unreadable(self, texts: Sequence[str], apart: int | None = None) -> Rejection | None:
        """Return why the model could not read texts, or not tell them apart; None: it can.

        Args:
            texts: All must be known to the vocabulary for the most part.
            apart: So many of them, from the first on, must differ in what is read. None: all.
        """
        must_differ = texts[:apart]
        if not self._may_fail(texts, must_differ):
            return None
        readings = self.read(texts)
        for text, reading in zip(texts, readings, strict=True):
            # More than half unknown: what is left says too little of the picture.
            if 2 * reading.num_unknown > reading.num_telling:
                return Rejection(
                    RejectReason.UNKNOWN_SCRIPT,
                    f"{reading.num_unknown} of {reading.num_telling} tokens of {text!r} are "
                    f"unknown to {self.name}: write it in a language that the model reads",
                )
        for i, j in combinations(range(len(must_differ)), 2):
            if texts[i] != texts[j] and (why := self._find_alike(readings[i], readings[j])):
                reason, words = why
                return Rejection(reason, f"prompts {i} and {j} {words}")
        return None

    def _find_alike(self, one: Reading, other: Reading) -> tuple[RejectReason, str] | None:
        end = None if self.in_windows else self.window
        if one.tokens[:end] != other.tokens[:end]:
            return None
        if one.tokens != other.tokens:
            return RejectReason.DIFFERENCE_BEYOND_WINDOW, (
                f"are the same in the {self.limit} tokens that {self.name} reads: name what "
                "differs earlier, or shorten the prompts"
            )
        if one.num_unknown:
            return RejectReason.UNKNOWN_SCRIPT, (
                f"differ only in what is unknown to {self.name}: write it in a language that the "
                "model reads"
            )
        return None  # case and spaces, which say nothing to it

    def _may_fail(self, texts: Sequence[str], must_differ: Sequence[str]) -> bool:
        """Say whether it takes tokens to find out: that costs ten times as much as a look.

        A token stands for one character or more, so texts that differ in their first characters
        differ in the first tokens. Spaces may be tokens of their own, but never two in a row.
        """
        if not all(map(self._is_known, texts)):
            return True
        num_certain: int | None = self.window if self.blank_id is None else self.window // 2
        if self.in_windows:
            num_certain = None
        beginnings = {"".join(text.lower().split())[:num_certain] for text in must_differ}
        return len(beginnings) < len(must_differ)

    @cached_property
    def _is_known(self) -> Callable[[str], object]:
        """Matches texts of usual characters that the vocabulary holds: no word is unknown."""
        alone = zip(_USUAL, self.read(_USUAL), strict=True)
        known = "".join(char for char, reading in alone if not reading.num_unknown)
        return re.compile(f"[{re.escape(known)}]*" if known else "").fullmatch


_PROBES = ("A red kite in a meadow at noon.", "A blue car on a beach at night.")


def require_telling(reader: TextReader) -> TextReader:
    """Return a reader, unless it splits no text or all texts alike: some of its files are missing.

    Raises:
        ModelUnavailableError: it does.
    """
    try:
        one, other = reader.read(_PROBES)
    except Exception as exc:  # tokenizers raises nothing more specific
        raise ModelUnavailableError(
            f"the tokenizer of {reader.name} splits no text ({exc}): its files are damaged or "
            "another model's, fetch them again"
        ) from exc
    if one.tokens == other.tokens:
        raise ModelUnavailableError(
            f"the tokenizer of {reader.name} does not fit: it reads two different prompts alike, "
            "so files of it (such as tokenizer.json) are missing; fetch them again"
        )
    return reader


def make_reader(
    tokenizer: Any,
    name: str,
    limit: int,
    clean: Callable[[str], str] = str,
    *,
    in_windows: bool = False,
    num_marks: int | None = None,
) -> TextReader:
    """Make a reader of a tokenizer of the library `transformers`.

    Args:
        tokenizer: It is left as it is.
        name: Whose it is, for people.
        limit: Tokens that the model reads, begin and end marks included.
        clean: What is done to a text before it is split.
        in_windows: Longer texts are read window by window.
        num_marks: Tokens around every text; None: the marks that the tokenizer sets itself.
    """
    unknown, end = tokenizer.unk_token_id, tokenizer.eos_token_id
    blank = tokenizer.convert_tokens_to_ids(_BLANK)
    return TextReader(
        name,
        limit,
        tokenizer.num_special_tokens_to_add() if num_marks is None else num_marks,
        _encode_with(tokenizer, clean),
        None if unknown == end else unknown,  # CLIP's knows every byte, and names one for form
        None if blank == unknown else blank,
        in_windows,
    )


def _encode_with(tokenizer: Any, clean: Callable[[str], str]) -> Encode:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return lambda texts: [
            tokenizer.encode(clean(text), add_special_tokens=False, verbose=False) for text in texts
        ]
    from tokenizers import Tokenizer

    # A copy: the tokenizer itself cuts and pads as its last caller wanted it. And it is ten times
    # as fast as the tokenizer around it.
    own = Tokenizer.from_str(backend.to_str())
    own.no_truncation()
    own.no_padding()
    return lambda texts: [
        encoding.ids
        for encoding in own.encode_batch_fast(list(map(clean, texts)), add_special_tokens=False)
    ]
