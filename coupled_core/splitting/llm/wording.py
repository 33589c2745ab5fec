"""Words of prompts and answers, and whether a word of the one can come from the other."""

from collections.abc import Collection

from coupled_core.splitting.words import is_content, tokenise

_UNSPACED = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3040, 0x30FF),
    (0x3400, 0x9FFF),
)
"""Thai, Lao, Burmese, Khmer, Kana, Han: scripts without spaces, of which every sign is a word."""
_MIN_STEM, _MAX_ENDING = 3, 4


def content_words(text: str) -> list[str]:
    """Return the words of a text that carry meaning, without case, in order, repeated ones too."""
    words: list[str] = []
    for token in tokenise(text):
        if any(_is_unspaced(char) for char in token.key):
            words.extend(token.key)
        elif is_content(token.key):
            words.append(token.key.removesuffix("'s").removesuffix("’s"))
    return words


def is_among(word: str, words: Collection[str]) -> bool:
    """Say whether a word, or another form of it (leap, leaping), is among others."""
    return word in words or any(_same_stem(word, other) for other in words)


def missing_from(text: str, source: Collection[str]) -> list[str]:
    """Return the content words of a text that do not come from a source's words."""
    return [word for word in dict.fromkeys(content_words(text)) if not is_among(word, source)]


def _same_stem(word: str, other: str) -> bool:
    same = 0
    for a, b in zip(word, other, strict=False):
        if a != b:
            break
        same += 1
    return same >= _MIN_STEM and max(len(word), len(other)) - same <= _MAX_ENDING


def _is_unspaced(char: str) -> bool:
    return any(first <= ord(char) <= last for first, last in _UNSPACED)
