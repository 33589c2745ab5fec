"""English entity phrases: a noun phrase, what it wears, what it does; anything else is unreadable.

The grammar is small and strict. Where a word could be read in two ways, the phrase is not read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from coupled_core.wording.forms import (
    agrees_with_article,
    ends_in_plural_s,
    is_participle,
    is_plural_noun,
    participle_of,
    singular_of,
)
from coupled_core.wording.lexicon import (
    ADJECTIVES,
    BEINGS,
    CONTAINERS,
    IRREGULAR_FORMS,
    MEDIA,
    NOUNS_BEFORE_NOUNS_IN_S,
    NOUNS_IN_ING,
    NOUNS_TOO,
    POSITIONS,
    PREDICATIVE,
    SCENE_WORDS,
    VERBS,
    WEARABLES,
)
from coupled_core.wording.words import (
    ADVERBS,
    ARTICLES,
    AUXILIARIES,
    BE,
    DETERMINERS,
    FUNCTION_WORDS,
    LOCATIVES,
    NUMBERS,
    PREPOSITIONS,
    PRONOUNS,
    Token,
    join_tokens,
    tokenise,
    word_set,
)

_MAX_WORDS = 4
"""Adjectives and noun together; longer phrases are rarely what they seem."""
_ADJECTIVE_ENDINGS = ("ful", "less", "ous", "ish", "able", "ible", "ical", "esque")
_NOUNS_IN_LY = word_set(
    "butterfly fly firefly dragonfly family lily jelly belly grizzly holly ally gully bully"
)
_NOUNS_IN_ED = word_set("bed sled bobsled shed seed weed reed steed moped thoroughbred")


class Unreadable(Exception):  # noqa: N818  (it says what a text is, nothing failed)
    """A text is not in the small grammar; the message says which words are not, for people."""


@dataclass(frozen=True)
class EntityPhrase:
    """The parts of an entity prompt."""

    article: str
    """A, an, the or a number, in lower case; empty before a bare plural: "eagles"."""
    core: tuple[str, ...]
    """Adjectives and noun, and what a container holds: ("bowl", "of", "fruit")."""
    attachment: str = ""
    """What is worn or had: "in a suit", "with long hair"; or empty."""
    predicate: str = ""
    """Participle, with what goes with it: "playing saxophone", "parked"; or empty."""
    place: str = ""
    """Where it is, apart from the scene: "on a branch", "on the left"; or empty."""

    @property
    def head(self) -> str:
        """The noun."""
        end = self.core.index("of") if "of" in self.core else len(self.core)
        return self.core[end - 1]

    @property
    def is_plural(self) -> bool:
        """It names several things."""
        if self.article in NUMBERS:
            return NUMBERS[self.article] > 1
        return not self.article or (self.article == "the" and ends_in_plural_s(self.head))

    @property
    def name(self) -> str:
        """Core and attachment without the article: "elderly man in a suit"."""
        return " ".join([*self.core, self.attachment]).strip()


def unexpected(key: str) -> Unreadable:
    """Return the error for a word that does not belong where it stands; empty: the text ends."""
    return Unreadable(f"{key!r} where it is not expected" if key else "an end that comes too early")


def parse_entity(text: str) -> EntityPhrase:
    """Take an entity prompt apart.

    Raises:
        Unreadable: it is not of the form that is known.
    """
    tokens = tokenise(text)
    if tokens and tokens[-1].key == ".":
        tokens.pop()
    phrase, end = parse_subject(tokens)
    return replace(phrase, place=_read_place(tokens[end:]))


def noun_of(entity: str) -> str:
    """Return the noun of an entity prompt, in lower case; empty: it cannot be told."""
    try:
        return parse_entity(entity).head.casefold()
    except Unreadable:
        return ""


def parse_subject(tokens: Sequence[Token]) -> tuple[EntityPhrase, int]:
    """Read the phrase that tokens begin with; return it and where it ends.

    Raises:
        Unreadable: there is none.
    """
    reader = _Reader(tokens)
    article = reader.take_article()
    core = reader.take_core(article)
    attachment = reader.take_attachments()
    phrase = EntityPhrase(article, core, attachment)
    predicate = reader.take_predicate(phrase)
    return replace(phrase, predicate=predicate), reader.at


class _Reader:
    """Takes one part after the other from the front of some tokens."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self.at = 0

    def take_article(self) -> str:
        key = self._key()
        if key in ARTICLES or key in NUMBERS:
            self.at += 1
            return key
        if key in DETERMINERS or key in PRONOUNS:
            raise Unreadable(f"{key!r} instead of a, an, the or a number")
        return ""

    def take_core(self, article: str) -> tuple[str, ...]:
        words = self._take_words(article)
        _check_noun_phrase(article, words)
        if not article:
            # It began the sentence: "Eagles" is no name.
            words[0] = words[0].lower()
        if self._key() == "of":
            if words[-1] not in CONTAINERS:
                raise Unreadable(f"'{words[-1]} of'")
            self.at += 1
            content = self._take_words("")
            _check_words(content)
            words += ["of", *content]
        return tuple(words)

    def take_attachments(self) -> str:
        start = self.at
        # Several in a row: "in a red dress with long hair".
        while (end := self._find_attachment()) is not None:
            self.at = end
        return join_tokens(self._tokens[start : self.at])

    def take_predicate(self, subject: EntityPhrase) -> str:
        is_finite = not self._key().endswith("ing")
        if self._key() in BE:
            self.at += 1
            is_finite = False
            if self._key() in VERBS or self._key().endswith("s"):
                raise Unreadable(f"{self._key()!r} after a form of be")
        verb = participle_of(self._key())
        if verb is None:
            if not self._is_at_end():
                raise unexpected(self._key())
            return ""
        self.at += 1
        words = [verb, *self._take_particle()]
        first = self.at
        words += self._take_object()
        keys = [token.key for token in self._tokens[first : self.at]]
        # "a racing car": a participle behind a thing may as well belong to what follows.
        is_sure = is_finite or subject.head in BEINGS or _follow_a_verb(keys)
        if not is_sure:
            raise Unreadable(f"{verb!r}, which may belong to what follows it")
        return " ".join(words)

    def _take_words(self, article: str) -> list[str]:
        words: list[str] = []
        while not self._is_at_end() and not self._is_at_verb(words, article):
            key = self._key()
            if key in FUNCTION_WORDS | ADVERBS | AUXILIARIES:
                raise unexpected(key)
            words.append(self._tokens[self.at].text)
            self.at += 1
        if not words:
            raise unexpected(self._key())
        return words

    def _take_particle(self) -> list[str]:
        key, after = self._key(), self._key(1)
        if key in ("up", "down") and (not after or after in PREPOSITIONS):
            self.at += 1
            return [key]
        return []

    def _take_object(self) -> list[str]:
        start = self.at
        if self._key() in ARTICLES or self._key() in NUMBERS:
            self.at += 1
        has_article = self.at > start
        words = [] if self._is_at_end() else self._take_words("a")
        if has_article:
            _check_noun_phrase(self._tokens[start].key, words)
        else:
            _check_words(words)
            if any(is_participle(word.casefold()) for word in words):
                raise unexpected(words[0])
        if words and words[-1].casefold() in SCENE_WORDS:
            raise Unreadable(f"{words[-1]!r}, a place, as the object of a verb")
        if not self._is_at_end():
            raise unexpected(self._key())
        return [token.text for token in self._tokens[start : self.at]]

    def _find_attachment(self) -> int | None:
        """Return the end of "in a red dress", "with long hair"; None: there is none here."""
        if self._key() not in ("in", "with"):
            return None
        start = end = self.at + 1 + (self._key(1) in ARTICLES)
        while end < len(self._tokens) and self._tokens[end].is_word:
            key = self._tokens[end].key
            is_worn = end > start and self._tokens[end - 1].key in WEARABLES
            is_verb = is_participle(key) or (is_worn and participle_of(key) is not None)
            if key in FUNCTION_WORDS or (end > start and is_verb):
                break
            end += 1
        return end if end > start and self._tokens[end - 1].key in WEARABLES else None

    def _is_at_verb(self, words: Sequence[str], article: str) -> bool:
        """Say whether the next word is not part of the noun phrase any more."""
        if not words or not _may_be_noun(words[-1].casefold()):
            return False
        key = self._key()
        if key in BE or is_participle(key):
            return True
        if participle_of(key) is None:
            return False
        if key in VERBS:
            # "two foxes run": a base form goes with several; of one it would be "runs".
            return is_plural_noun(words[-1]) and NUMBERS.get(article, 2) > 1 and article != "a"
        if article == "the" and words[-1].casefold() not in BEINGS:
            raise Unreadable(f"{key!r}, which may be a noun or a verb")
        return article in ("a", "an", "one", "the")

    def _is_at_end(self) -> bool:
        return self.at == len(self._tokens) or (
            self._key() in PREPOSITIONS or not self._tokens[self.at].is_word
        )

    def _key(self, ahead: int = 0) -> str:
        index = self.at + ahead
        return self._tokens[index].key if index < len(self._tokens) else ""


def _check_noun_phrase(article: str, words: Sequence[str]) -> None:
    """Raise Unreadable unless words are adjectives and a noun that agree with the article."""
    if not words:
        raise unexpected("")
    _check_words(words)
    noun = words[-1].casefold()
    if noun in MEDIA:
        raise Unreadable(f"{noun!r}, a kind of picture, in the place of a thing")
    if not _may_be_noun(noun) and noun not in NOUNS_TOO:
        raise Unreadable(f"{noun!r}, which is not known as a noun")
    for word in map(str.casefold, words[:-1]):
        if ends_in_plural_s(word) and word not in NOUNS_BEFORE_NOUNS_IN_S:
            raise unexpected(word)
    _check_number(article, words, noun)


def _check_number(article: str, words: Sequence[str], noun: str) -> None:
    is_plural = is_plural_noun(noun)
    if article in ("a", "an", "one"):
        if is_plural and singular_of(noun) != noun:
            raise Unreadable(f"'{article}' before {noun!r}")
        if not agrees_with_article(article, words[0]):
            raise Unreadable(f"'{article} {words[0]}'")
    elif article != "the" and not is_plural:
        raise Unreadable(f"{noun!r} without an article" if not article else f"'{article} {noun}'")
    if not article and not {word.casefold() for word in words[:-1]} <= ADJECTIVES:
        raise Unreadable(f"{words[0]!r} without an article")


def _check_words(words: Sequence[str]) -> None:
    if len(words) > _MAX_WORDS:
        raise Unreadable(repr(" ".join(words)))
    for word in words:
        if not all(part.isalpha() for part in word.split("-")):
            raise unexpected(word)
    for before, word in pairwise(map(str.casefold, words)):
        is_thing = word in NOUNS_IN_ING | _NOUNS_IN_ED and before not in BEINGS
        if word.endswith(("ing", "ed")) and not is_thing and _may_be_noun(before):
            raise Unreadable(f"{word!r}, which may be a verb")


def _may_be_noun(word: str) -> bool:
    if word in ADJECTIVES | POSITIONS | IRREGULAR_FORMS or word.endswith(_ADJECTIVE_ENDINGS):
        return False
    if word.endswith("ing"):
        return word in NOUNS_IN_ING
    if word.endswith("ed"):
        return word in _NOUNS_IN_ED
    return not word.endswith("ly") or word in _NOUNS_IN_LY


def _follow_a_verb(keys: Sequence[str]) -> bool:
    """Say whether words after a participle can only belong to it: "holding a", "standing proud"."""
    if keys and (keys[0] in ARTICLES or keys[0] in NUMBERS):
        return True
    return all(key in ADJECTIVES | PREDICATIVE or key.endswith("ly") for key in keys)


def _read_place(tokens: Sequence[Token]) -> str:
    """Return "on a branch", "in the sky above a town" as it stands."""
    keys = [token.key for token in tokens]
    for index, key in enumerate(keys):
        is_pair = key == "to" and keys[index - 1] in ("next", "close")
        allowed = LOCATIVES | ARTICLES | ({"of", "to"} if is_pair else {"of"})
        is_wrong = not tokens[index].is_word or (key in FUNCTION_WORDS and key not in allowed)
        if is_wrong or (index == 0 and key not in LOCATIVES):
            raise unexpected(key)
    if keys and keys[-1] in FUNCTION_WORDS:
        raise unexpected("")
    return join_tokens(tokens)
