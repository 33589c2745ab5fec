"""Is a text an instruction that turns one image into the other? Whoever wrote it, by words alone.

The form is looked at in any language, sentence patterns only in English.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, pairwise

from coupled_core.wording.comparison import (
    are_forms,
    content_words,
    main_script,
    plain_words,
    word_form,
)
from coupled_core.wording.forms import (
    is_participle,
    is_plural_noun,
    participle_of,
    singular_of,
)
from coupled_core.wording.lexicon import ADJECTIVES, NOUNS_TOO
from coupled_core.wording.phrases import noun_of
from coupled_core.wording.words import (
    ARTICLES,
    BE,
    FUNCTION_WORDS,
    NUMBERS,
    tokenise,
    word_set,
)

_MIN_NAMED = 0.5
"""Share of the words that only the target has, which an instruction must name beside the thing."""
_BRACKETS = (("(", ")"), ("[", "]"), ("{", "}"), ("“", "”"), ("«", "»"), ("（", "）"), ("「", "」"))
_ENGLISH = word_set(
    "the of with at by under and from near through beside is are instead make replace show"
)
_OTHER_LANGUAGES = word_set(
    """
    ein eine einer einem einen der das dem im auf bei unter mit und über vor zum zur ist
    un une le la les des du de dans sur sous avec aux et el los las una unos con bajo sobre
    del al il gli uno di della nel nella su um uma na numa num em een het op ett och på
    """
)
"""Articles and prepositions of German, French, Spanish, Italian, Portuguese, Dutch, Swedish."""
_COUNT_WORDS = word_set(
    "add another more fewer less extra remove delete erase additional "
    "second third fourth fifth sixth duplicate number"
)
_NEGATIONS = word_set(
    "no not without remove delete erase stop lose drop instead rather longer away off"
)
_KEEPING = word_set("keep leave preserve retain")
_IN_CLAUSES = word_set("that so where while which who whose sure until if as it they")
_MARKUP = re.compile(r"[<>{}|]|&\s?\w+\s?;|&\s?amp\b|--\w|\w:\d")
_TWICE = re.compile(r"\b((?:[^\W\d_]+ ){0,2}[^\W\d_]+) \1\b")
"""One to three words that follow themselves."""
_NEVER_LAST = word_set("of with from at into to by for and the a an")
_FINITE = BE | word_set("shows features depicts contains has holds")
_INSTEAD = re.compile(r"^(.*)\b(?:instead of|rather than)\b(.*)$", re.I)
_FROM_TO = re.compile(
    r"\b(change|turn|transform|convert|morph|move|shift|switch|go|make)\b.*?"
    r"\bfrom\b(.*)\b(?:to|into)\b(.*)$",
    re.I,
)
_SWAP = re.compile(r"\b(?:replace|swap|exchange|substitute|switch)\b(.*)$", re.I)
_TURN = re.compile(r"\b(?:change|turn|transform|convert|morph)\b(.*)$", re.I)
_SWAP_DIVIDER = re.compile(r"\b(?:with|by|for)\b", re.I)
_TURN_DIVIDER = re.compile(r"\b(?:to|into)\b", re.I)


def find_instruction_problem(
    text: str, source: str, target: str, prompts: Sequence[str]
) -> str | None:
    """Return what is wrong with an instruction, as the end of a sentence about it; None: nothing.

    Args:
        source: Entity of the image that is edited.
        target: Entity of the image that shall come of it.
        prompts: Full prompts of the group; they say which language is spoken.
    """
    words = plain_words(text)
    if not words:
        return "is empty"
    problems = chain(
        find_bad_form(text, prompts),
        _find_other_language(text, prompts),
        _find_sides(text, source, target),
        _find_unnamed(words, source, target),
        _find_claims(text, source, target),
    )
    return next(problems, None)


def are_same_instruction(one: str, other: str) -> bool:
    """Say whether the instructions of both directions ask for one and the same."""
    return plain_words(one) == plain_words(other)


def find_bad_form(text: str, prompts: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with an instruction whatever it is about: open quotes, doubled words."""
    if text.count('"') % 2 or any(text.count(a) != text.count(b) for a, b in _BRACKETS):
        yield "has a quotation mark or bracket that is not closed"
    # Before a word it opens, behind one it closes; between two letters it is an apostrophe.
    elif len(re.findall(r"(?<!\w)['‘]\w", text)) > len(re.findall(r"['’](?!\w)", text)):
        yield "has a quotation mark that is not closed"
    if found := _MARKUP.search(text):
        yield f"has the markup {found.group()!r}"
    tokens = [token.key for token in tokenise(text)]
    said = " ".join(token.key for prompt in prompts for token in tokenise(prompt))
    for first, second in pairwise([*tokens, "."]):
        if first in ARTICLES and (second in ARTICLES or (first != "the" and second in NUMBERS)):
            yield f"has two articles, '{first} {second}'"
        if first in _NEVER_LAST and second in ".,;!":
            yield f"breaks off after {first!r}"
    # "walla walla" is fine where a prompt says so.
    if (found := _TWICE.search(" ".join(tokens))) and found.group() not in said:
        yield f"says {found.group(1)!r} twice"


def _find_other_language(text: str, prompts: Sequence[str]) -> Iterator[str]:
    said = " ".join(prompts)
    script, expected = main_script(text), main_script(said)
    english, other = (_count(text, words) for words in (_ENGLISH, _OTHER_LANGUAGES))
    said_english, said_other = (_count(said, words) for words in (_ENGLISH, _OTHER_LANGUAGES))
    if script and expected and script != expected:
        yield f"is in {script.title()} letters, the prompts are in {expected.title()}"
    elif english > other and (expected != "LATIN" or said_other > max(said_english, 1)):
        yield "is in English, the prompts are not"
    elif other > english * 2 and said_english > said_other:
        yield "is not in English, the prompts are"


def _count(text: str, words: Collection[str]) -> int:
    return sum(word in words for word in plain_words(text))


def _find_sides(text: str, source: str, target: str) -> Iterator[str]:
    """Look at both sides of "instead of", "from ... to", "replace ... with", "turn ... into"."""
    new, gone = changed_words(source, target), changed_words(target, source)
    for sentence in re.split(r"[.;!?]", text):
        if found := _INSTEAD.search(sentence):
            yield from _find_instead(found.group(1), found.group(2), new, gone)
        yield from _find_slots(_SWAP.search(sentence), _SWAP_DIVIDER, new, gone)
        if found := _FROM_TO.search(sentence):
            before, after = _side(found.group(2)), _side(found.group(3))
            if before == after:
                yield "has the same on both sides of 'from ... to'"
            elif names_any(before, new) and names_any(after, gone):
                yield "goes from what is to come to what is there"
        else:
            yield from _find_slots(_TURN.search(sentence), _TURN_DIVIDER, new, gone)


def _find_instead(left: str, right: str, new: set[str], gone: set[str]) -> Iterator[str]:
    before, after = ([w for w in plain_words(side) if w not in ARTICLES] for side in (left, right))
    if not after:
        yield "names nothing after 'instead of'"
    elif before[-len(after) :] == after:
        yield f"has {' '.join(after)!r} on both sides of 'instead of'"
    elif is_participle(after[-1]) and before[-1:] == after[-1:]:
        yield f"has {after[-1]!r} on both sides of 'instead of'"
    elif after[0] in BE:
        yield f"has 'instead of {after[0]}', which is no English"
    elif names_any(_side(right), new) and not names_any(_side(right), gone):
        yield f"says 'instead of {' '.join(after)}', which is to come"


def _find_slots(
    found: re.Match[str] | None, divider: re.Pattern[str], new: set[str], gone: set[str]
) -> Iterator[str]:
    """Look at what is replaced and what comes; the best reading counts where there are several."""
    if found is None:
        return
    rest = re.split(r",|\band (?=replace|change|make|turn)", found.group(1))[0]
    problems = [
        _find_bad_slots(rest[: d.start()], rest[d.end() :], new, gone)
        for d in divider.finditer(rest)
    ]
    if problems and all(problems):
        yield str(problems[0])


def _find_bad_slots(old: str, coming: str, new: set[str], gone: set[str]) -> str | None:
    if _side(old) == _side(coming):
        return f"puts {coming.strip()!r} in the place of the same"
    if names_any(_side(coming), gone) and not names_any(_side(coming), new):
        return f"brings {coming.strip()!r}, which is to go"
    if names_any(_side(old), new) and not names_any(_side(old), gone):
        return f"takes {old.strip()!r} away, which is to come"
    return _find_bad_noun_phrase(old) or _find_bad_noun_phrase(coming)


def _find_bad_noun_phrase(slot: str) -> str | None:
    tokens = [token.key for token in tokenise(slot) if token.is_word]
    article = tokens[0] if tokens and (tokens[0] in ARTICLES or tokens[0] in NUMBERS) else ""
    rest = tokens[bool(article) :]
    if article == "the" and rest and rest[0] in NUMBERS:
        article, rest = rest[0], rest[1:]
    is_end = [w in FUNCTION_WORDS or (i > 0 and is_participle(w)) for i, w in enumerate(rest)]
    end = is_end.index(True) if True in is_end else len(rest)
    words = rest[:end]
    if not words:
        return None if rest else "names nothing to replace, or nothing to replace it with"
    if words[-1] in ADJECTIVES - NOUNS_TOO:
        return f"has {slot.strip()!r}, which names no thing"
    is_several = is_plural_noun(words[-1]) and singular_of(words[-1]) != words[-1]
    if article in ("a", "an", "one") and is_several and participle_of(words[-1]) is None:
        return f"has {slot.strip()!r}, which does not agree in number"
    if article in NUMBERS and article != "one" and len(words) == 1 and not is_plural_noun(words[0]):
        return f"has {slot.strip()!r}, which does not agree in number"
    return None


def _side(text: str) -> tuple[str, ...]:
    """Return the words that are compared; those without meaning only where there are no others."""
    return content_words(text) or plain_words(text)


def changed_words(source: str, target: str) -> set[str]:
    """Return the words that only the target has; prepositions and numbers if it has no others."""
    # Words with meaning first: "on the left" against "in a tree" differ by those.
    for words_of in (content_words, plain_words):
        there = {word_form(word) for word in words_of(source)}
        changed = {word for word in words_of(target) if word_form(word) not in there}
        gone = {word_form(word) for word in words_of(target)}
        if changed or any(word_form(word) not in gone for word in words_of(source)):
            return changed - ARTICLES
    return set()


def names_any(words: Collection[str], wanted: Collection[str]) -> bool:
    """Say whether some of the wanted words, or another form of it, is among words."""
    return any(are_forms(word, other) for word in wanted for other in words)


def _find_unnamed(words: Sequence[str], source: str, target: str) -> Iterator[str]:
    new, gone = changed_words(source, target), changed_words(target, source)
    # "Add another fox" says that there are to be two without the word.
    if new and new <= NUMBERS.keys():
        if not names_any(words, new) and not _COUNT_WORDS & set(words):
            yield f"does not say what changes: that there are to be {_list(new)}"
    elif new:
        unnamed = {word for word in new if not names_any(words, [word])}
        is_thing_unnamed = noun_of(target) in unnamed
        if is_thing_unnamed or len(unnamed) > (1 - _MIN_NAMED) * len(new):
            yield f"does not say what changes: it does not name {_list(unnamed)}"
    elif gone and not (names_any(words, gone) and _NEGATIONS & set(words)):
        yield f"does not say what changes: that {_list(gone)} is to go"


def _find_claims(text: str, source: str, target: str) -> Iterator[str]:
    """Find what is said to stay though it goes, and whole clauses in the place of a thing."""
    gone = changed_words(target, source)
    for part in re.split(r"[.,;!?]", text):
        words = plain_words(part)
        if words and words[0] in _KEEPING and names_any(words, gone):
            yield f"keeps {_list(w for w in words if names_any([w], gone))}, which is to go"
    words = plain_words(text)
    clauses = {pair for entity in (source, target) for pair in _subjects_and_verbs(entity)}
    if not _IN_CLAUSES & set(words):
        for pair in pairwise(words):
            if pair in clauses:
                yield f"has the clause {' '.join(pair)!r} in the place of a thing"


def _subjects_and_verbs(entity: str) -> Iterator[tuple[str, str]]:
    """Yield ("balloon", "floats") of "A blue balloon floats"."""
    words = plain_words(entity)
    for index, (subject, verb) in enumerate(pairwise(words)):
        is_finite = verb in _FINITE or (verb.endswith("s") and participle_of(verb) is not None)
        if index > 0 and is_finite and subject not in FUNCTION_WORDS | ADJECTIVES:
            yield subject, verb


def _list(words: Collection[str] | Iterator[str]) -> str:
    return ", ".join(repr(word) for word in sorted(words)[:12])
