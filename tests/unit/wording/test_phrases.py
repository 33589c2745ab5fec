"""Entity phrases: what the small grammar reads, and what it refuses to."""

import pytest

from coupled_core.wording.phrases import (
    Unreadable,
    parse_entity,
)


@pytest.mark.parametrize(
    ("text", "article", "core", "attachment", "predicate", "place"),
    [
        ("A red fox runs.", "a", ("red", "fox"), "", "running", ""),
        ("A car is parked.", "a", ("car",), "", "parked", ""),
        ("An umbrella stands open.", "an", ("umbrella",), "", "standing open", ""),
        ("Two foxes run", "two", ("foxes",), "", "running", ""),
        ("Eagles soar", "", ("eagles",), "", "soaring", ""),
        ("The king sits.", "the", ("king",), "", "sitting", ""),
        ("A red flying saucer", "a", ("red", "flying", "saucer"), "", "", ""),
        ("A bowl of fruit", "a", ("bowl", "of", "fruit"), "", "", ""),
        ("An orange", "an", ("orange",), "", "", ""),
        ("A woman asleep", "a", ("woman",), "", "asleep", ""),
        ("A cat curled up on a rug", "a", ("cat",), "", "curled up", "on a rug"),
        ("A man in a suit plays chess", "a", ("man",), "in a suit", "playing chess", ""),
        ("A dog with a collar next to a car", "a", ("dog",), "with a collar", "", "next to a car"),
        ("A boy flying a kite", "a", ("boy",), "", "flying a kite", ""),
        ("A majestic stag standing proud.", "a", ("majestic", "stag"), "", "standing proud", ""),
    ],
)
def test_a_phrase_is_taken_apart(
    text: str, article: str, core: tuple[str, ...], attachment: str, predicate: str, place: str
) -> None:
    phrase = parse_entity(text)
    assert (phrase.article, phrase.core) == (article, core)
    assert (phrase.attachment, phrase.predicate, phrase.place) == (attachment, predicate, place)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("A tall", "'tall', which is not known as a noun"),
        ("A apple", "'a apple'"),
        ("A cats", "'a' before 'cats'"),
        ("Two cat", "'two cat'"),
        ("Red kite", "'kite' without an article"),
        ("Albert Einstein", "without an article"),
        ("Ein roter Ballon", "without an article"),
        ("His horse", "'his' instead of a, an, the or a number"),
        ("A photo of a cat", "'photo', a kind of picture"),
        ("A watercolor painting", "a kind of picture"),
        ("A small, brown dog", "'small', which is not known as a noun"),
        ("A cat and a dog", "'and'"),
        ("A man about to jump", "'about'"),
        ("A tall slender elegant marble old column", "'tall slender elegant marble old column'"),
        ("The image shows a red kite", "'a' where it is not expected"),
        ("A ball crashed", "'crashed'"),
        ("A mystic floating crystal ball", "'floating'"),
        ("A mouse laughing sitting", "'sitting'"),
        ("A bear is a bear", "'a' where"),
        ("A deer crosses a road", "'road', a place"),
        ("The street vendor walks", "'walks', which may be a noun or a verb"),
        ("A 3D robot", "'3D'"),
        ("...", "an end that comes too early|'\\.'"),
    ],
)
def test_what_could_be_read_otherwise_is_not_read(text: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        parse_entity(text)
