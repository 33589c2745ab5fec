"""English noun phrases: which words describe an entity, and which the scene around it."""

from collections.abc import Sequence
from dataclasses import dataclass

from coupled_core.splitting.words import (
    ADJECTIVES,
    BE,
    BELONGINGS,
    BREAKS,
    CONJUNCTIONS,
    DETERMINERS,
    DISTANCES,
    LOCATIVES,
    POSITIONS,
    PREPOSITIONS,
    PRONOUNS,
    SCENE_STARTERS,
    SCENE_WORDS,
    SINGULAR,
    VERBS,
    Token,
    find_media_lead,
    is_content,
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


@dataclass(frozen=True)
class Surroundings:
    """What stands beside a shared run in the prompts."""

    is_lead: bool
    """It begins some prompt, so it may begin with the subject."""
    is_open_left: bool
    """In some prompt another word stands directly before it: it may begin inside an entity."""
    is_open_right: bool
    """In some prompt another word stands directly after it: it may end inside an entity."""
    follows_preposition: bool = False
    """In every prompt a preposition of place stands directly before it, not the same in all."""
    follows_position: bool = False
    """In every prompt a part of the frame is named directly before it: "the foreground"."""


def find_scene(keys: Sequence[str], beside: Surroundings) -> tuple[int, int] | None:
    """Return the part [start, end) of a run that describes the scene; None: there is none."""
    low, high = 0, len(keys)
    while low < high and keys[low] in BREAKS:
        low += 1
    while high > low and keys[high - 1] in BREAKS:
        high -= 1
    is_open_left = beside.is_open_left and low == 0
    is_open_right = beside.is_open_right and high == len(keys)
    is_lead = beside.is_lead and low == 0
    if beside.follows_preposition and low == 0 and _begins_with_scene(keys, high):
        start: int | None = low
    else:
        start = _find_start(keys, low, high, beside) if is_open_left or is_lead else low
    if start is None:
        return None
    end = _find_end(keys, start, high) if is_open_right else high
    is_inside = is_open_left and is_open_right
    return (start, end) if _describes_scene(keys[start:end], is_inside) else None


def _find_start(keys: Sequence[str], low: int, high: int, beside: Surroundings) -> int | None:
    """Find the first phrase that is a place; what comes before it belongs to the entity."""
    for index in range(low, high):
        phrase = keys[index + 1 : _phrase_end(keys, index + 1, high)]
        if index == low == 0 and beside.is_lead and _leads_with_scene(keys, low, high):
            return index
        if index > low and keys[index - 1] in BREAKS and not _is_personal(phrase):
            return index
        if keys[index] in LOCATIVES | SCENE_STARTERS and not _is_personal(phrase):
            return index
        if keys[index] == "with" and SCENE_WORDS & set(phrase):
            return index
        is_after_position = beside.follows_position if index == 0 else keys[index - 1] in POSITIONS
        if keys[index] == "of" and is_after_position and set(phrase[-1:]) & SCENE_WORDS:
            return index + 1  # "in the foreground" is the entity's, "a pasture" the scene's
    return None


def _leads_with_scene(keys: Sequence[str], low: int, high: int) -> bool:
    """Say whether a run that opens a prompt opens it with the scene, not with the subject."""
    if _is_noun_phrase_of_scene(keys, low, high):
        return True
    first_break = next((i for i in range(low, high) if keys[i] in BREAKS), high)
    opening = keys[low:first_break]
    if BELONGINGS & set(opening):
        return False
    if keys[low] == "with":
        return bool(SCENE_WORDS & set(opening))
    if keys[low] in DISTANCES:
        return any(key in PREPOSITIONS for key in opening[1:4])
    end = _phrase_end(keys, low + 1, high)
    return keys[low] in LOCATIVES and keys[end : end + 1] == ["of"]


def _begins_with_scene(keys: Sequence[str], high: int) -> bool:
    """Say whether the first noun phrase is a place or a light: "a rocky shore under clouds"."""
    phrase = keys[: _phrase_end(keys, 0, high)]
    end = next((i for i, key in enumerate(phrase) if key in SCENE_STARTERS), len(phrase))
    return end > 0 and phrase[end - 1] in SCENE_WORDS


def _find_end(keys: Sequence[str], start: int, high: int) -> int:
    """Cut off what begins the entity after the run: "in a meadow, a red" ends with "meadow"."""
    end = high
    while end > start:
        phrase_start = _phrase_start(keys, start, end)
        phrase = keys[phrase_start:end]
        second = [i for i, key in enumerate(phrase) if key in DETERMINERS and i > 0]
        if second:
            end = phrase_start + second[-1]
            if keys[end - 1] not in PRONOUNS:
                end -= _is_inverted_verb(keys, end - 1, start)
                break  # a new noun phrase begins there, so what stands before it is complete
            end -= 1
        elif phrase and phrase[-1] in SCENE_WORDS:
            break
        elif phrase_start > start and keys[phrase_start - 1] in BREAKS:
            end = phrase_start - 1  # the comma closes what stands before it
            break
        elif SCENE_WORDS & set(phrase):
            end = phrase_start + max(i for i, key in enumerate(phrase) if key in SCENE_WORDS) + 1
            break
        elif phrase_start > start and keys[phrase_start - 1 : end] in (["with", "a"], ["with"]):
            end = phrase_start - 1  # so does the "with" that brings in the entity
            break
        else:
            end = phrase_start - 1 if phrase_start > start else start
    while end > start and not is_content(keys[end - 1]):
        end -= 1
    return end


def _is_inverted_verb(keys: Sequence[str], index: int, start: int) -> bool:
    """Say whether the word before an article is the verb of the entity: "in a swamp stands a"."""
    word = keys[index]
    if word in SCENE_WORDS or index <= start:
        return False
    if word in VERBS or base_form(word) in VERBS:
        return True
    before = keys[index - 1]
    follows_noun = is_content(before) and before not in ADJECTIVES
    return follows_noun and word.endswith(("s", "ed")) and not word.endswith("ss")


def _describes_scene(keys: Sequence[str], must_name_scene: bool) -> bool:
    if not any(is_content(key) for key in keys):
        return False
    if SCENE_WORDS & set(keys):
        return True
    return not must_name_scene and not _is_personal(keys)


def _is_noun_phrase_of_scene(keys: Sequence[str], low: int, high: int) -> bool:
    """Say whether a run opens with a finished noun phrase like "a vibrant meadow"."""
    end = _phrase_end(keys, low, high)
    return low < end < high and keys[low] not in PREPOSITIONS and keys[end - 1] in SCENE_WORDS


def _is_personal(phrase: Sequence[str]) -> bool:
    """Say whether a phrase is about what somebody wears or where in the frame it is."""
    words = set(phrase)
    return bool(words & (BELONGINGS | POSITIONS)) and not words & SCENE_WORDS


def _phrase_end(keys: Sequence[str], start: int, high: int) -> int:
    for index in range(start, high):
        if keys[index] in PREPOSITIONS | BREAKS | CONJUNCTIONS | BE:
            return index
    return high


def _phrase_start(keys: Sequence[str], start: int, end: int) -> int:
    """Return where the last noun phrase of [start, end) begins."""
    for index in range(end - 1, start - 1, -1):
        if keys[index] in PREPOSITIONS | BREAKS:
            return index + 1
    return start
