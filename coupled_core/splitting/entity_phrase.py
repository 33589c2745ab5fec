"""Take "An elderly man in a suit playing saxophone" apart: article, core, attachment, predicate."""

from collections.abc import Sequence
from dataclasses import dataclass

from coupled_core.splitting.words import (
    ADJECTIVES,
    BE,
    BREAKS,
    DETERMINERS,
    PREPOSITIONS,
    SINGULAR,
    VERBS,
    Token,
    find_media_lead,
    tokenise,
)


@dataclass(frozen=True)
class EntityPhrase:
    """The parts of an entity prompt, in lower case where English asks for it."""

    article: str
    """As in "an", "two"; empty for "eagles soar"."""
    core: tuple[str, ...]
    """Adjectives and noun: ("elderly", "man")."""
    attachment: str
    """As in "in a suit", or empty."""
    predicate: str
    """As in "playing saxophone", "is parked", or empty."""

    @property
    def head(self) -> str:
        """The noun."""
        return self.core[-1] if self.core else ""

    @property
    def is_name(self) -> bool:
        """It is a proper name, which takes no article: "Albert Einstein"."""
        return not self.article and _is_name(self.core)

    @property
    def name(self) -> str:
        """Core and attachment: "elderly man in a suit"."""
        return " ".join([*self.core, self.attachment]).strip()


def parse_entity(entity_prompt: str) -> EntityPhrase:
    """Take an entity prompt apart by word endings and lists; unsure words count as the core."""
    tokens = tokenise(entity_prompt)
    tokens = tokens[find_media_lead(tokens) :]
    while tokens and tokens[-1].key in BREAKS:
        tokens.pop()
    has_article = bool(tokens) and tokens[0].key in DETERMINERS
    article = tokens[0].key if has_article else ""
    words = tokens[1:] if has_article else tokens
    verb = _find_verb(words, article)
    core_end = next((i for i, t in enumerate(words[:verb]) if t.key in PREPOSITIONS), verb)
    core = [word.text for word in words[:core_end]]
    if not core:
        article, core = "an", ["object"]
    elif not has_article and not _is_name(core):
        core[0] = _decapitalise(core[0])
    return EntityPhrase(
        article=article,
        core=tuple(core),
        attachment=_join(words[core_end:verb]),
        predicate=_join(words[verb:]).lstrip(", "),
    )


def _find_verb(words: Sequence[Token], article: str) -> int:
    """Return the index of the first word that is not part of the noun phrase."""
    needs_noun, is_singular = True, article in SINGULAR
    for index, word in enumerate(words):
        key = word.key
        if key in BREAKS or key in BE or key in {"that", "which", "who"}:
            return index
        if key in PREPOSITIONS:
            needs_noun, is_singular = True, False
        elif key in DETERMINERS:
            needs_noun, is_singular = True, key in SINGULAR
        elif not needs_noun and _looks_like_verb(key, is_singular):
            return index
        else:
            needs_noun = needs_noun and key in ADJECTIVES
    return len(words)


def _looks_like_verb(key: str, is_singular: bool) -> bool:
    if key.endswith(("ing", "ed")) or key in VERBS:
        return True
    return (
        key.endswith("s")
        and not key.endswith(("ss", "us"))
        and (is_singular or base_form(key) in VERBS)
    )


def base_form(verb: str) -> str:
    """Return the infinitive of a verb in the third person: "flies" -> "fly", "is" -> "be"."""
    irregular = {
        "is": "be",
        "are": "be",
        "has": "have",
        "lies": "lie",
        "dies": "die",
        "ties": "tie",
    }
    if verb in irregular:
        return irregular[verb]
    if verb.endswith("ies"):
        return verb[:-3] + "y"
    if verb.endswith(("ches", "shes", "sses", "xes", "zzes", "oes")):
        return verb[:-2]
    return verb[:-1] if verb.endswith("s") and not verb.endswith("ss") else verb


def _is_name(core: Sequence[str]) -> bool:
    """Say whether words read as a proper name: "Albert Einstein"."""
    return len(core) > 1 and all(word.istitle() for word in core)


def _decapitalise(word: str) -> str:
    """Lower the first word of a sentence; "USA" and "iPhone" keep their letters."""
    return word.lower() if word.istitle() else word


def _join(words: Sequence[Token]) -> str:
    return "".join(" " * word.has_space_before + word.text for word in words).strip()
