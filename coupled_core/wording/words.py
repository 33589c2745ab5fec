"""Words and marks of a text, and the English words that a sentence is held together by."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def word_set(text: str) -> frozenset[str]:
    """Return the words of a list that is written down as one text."""
    return frozenset(text.split())


ARTICLES = frozenset({"a", "an", "the"})
NUMBERS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
}  # fmt: skip
DETERMINERS = (
    ARTICLES
    | frozenset(NUMBERS)
    | word_set(
        "several some many few this that these those another both each every all no any other"
        " his her its their my our your"
    )
)
LOCATIVES = word_set(
    """
    in on at under by near beside below above inside outside across along against amid
    amidst among amongst around behind between beneath beyond over upon within through
    throughout underneath atop next during before after toward towards off alongside aboard
    opposite past down up onto into
    """
)
PREPOSITIONS = LOCATIVES | word_set("of with without from for to like as about than per via")
PRONOUNS = word_set(
    """
    i me my mine you your yours he him his she her hers it its they them their theirs we us our
    himself herself itself themselves oneself each other others another both which who whom whose
    that what this these those there here
    """
)
CONJUNCTIONS = word_set("and or but nor while where when whereas because if so although then")
BE = word_set("is are was were be been being am")
FUNCTION_WORDS = DETERMINERS | PREPOSITIONS | PRONOUNS | CONJUNCTIONS | BE
AUXILIARIES = word_set("has have had do does did can could will would may might must shall should")
ADVERBS = word_set(
    """
    not too very quite rather just only also even already again never always often almost
    away back upside upside-down sideways overhead upstairs downstairs
    together apart nearby ahead aside far now soon once twice about out
    """
)
BREAKS = frozenset(",;:.!?()—–")

# A word with its apostrophes and hyphens inside, or any single mark.
_TOKEN = re.compile(r"\w+(?:['’\-]\w+)*|[^\w\s]")


@dataclass(frozen=True)
class Token:
    """A word or a punctuation mark of a prompt."""

    text: str
    has_space_before: bool

    @property
    def key(self) -> str:
        """What is compared: the text without case."""
        return self.text.casefold()

    @property
    def is_word(self) -> bool:
        """It begins with a letter or a digit."""
        return self.text[0].isalnum()


def tokenise(text: str) -> list[Token]:
    """Cut a text into words and punctuation marks."""
    return [
        Token(found.group(), found.start() > 0 and text[found.start() - 1].isspace())
        for found in _TOKEN.finditer(text)
    ]


def join_tokens(tokens: Iterable[Token]) -> str:
    """Return the text of tokens, spaced as it was."""
    return "".join(" " * token.has_space_before + token.text for token in tokens).strip()


def write_sentence(tokens: Sequence[Token]) -> str:
    """Join tokens to a sentence with a capital and a full stop."""
    text = join_tokens(tokens).rstrip(" ,;:-—–")
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")
