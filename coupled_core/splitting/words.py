"""The few English words that the offline splitter knows, and how a prompt is cut into words.

No model and no part-of-speech tagger: closed classes (articles, prepositions) are listed whole; of
the open ones only what tells a place or a light from a thing that somebody wears or carries.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DETERMINERS = _words(
    """
    a an the one two three four five six several some many this that these those another his
    her its their my our your
    """
)
SINGULAR = frozenset({"a", "an", "one", "this", "that", "another"})
LOCATIVES = _words(
    """
    in on at under by near beside below above inside outside across along against amid
    amidst among amongst around behind between beneath beyond over upon within through
    throughout underneath atop next during before toward towards off alongside aboard
    opposite past
    """
)
PREPOSITIONS = LOCATIVES | _words("of with without from into onto for to like as")
SCENE_STARTERS = _words("bathed surrounded lit illuminated framed set covered overlooking facing")
"""Participles that describe the scene rather than the thing before them."""
DISTANCES = _words("not far high deep close just somewhere halfway down up out")
"""What may stand before the preposition of a scene: "Not far from a waterfall"."""
PRONOUNS = frozenset({"it", "them", "him", "her", "which"})
CONJUNCTIONS = frozenset({"and", "or", "but", "while", "where"})
BREAKS = frozenset(",;:.!?()—–")
MEDIA = _words(
    """
    picture image photo photograph painting drawing sketch illustration render rendering
    portrait shot view scene watercolor watercolour close-up closeup snapshot
    """
)
PLAIN_MEDIA = frozenset({"picture", "image", "scene", "view"})
"""Media that say nothing about style."""

PLACES = _words(
    """
    meadow meadows beach desert deserts field fields snowfield snowfields forest forests
    wood woods woodland jungle lake lakes city town village mountain mountains valley hill
    hills hillside river riverbank stream waterfall sea seaside ocean shore coast island
    cliff cave canyon glacier savanna savannah prairie swamp marsh dunes pond garden gardens
    park street streets road alley avenue highway square plaza market bridge harbor harbour
    dock pier port station airport stadium playground rooftop courtyard yard backyard farm
    barn vineyard orchard room kitchen bedroom bathroom office studio library cafe café
    restaurant bar classroom school church cathedral temple castle palace museum gallery
    theater theatre stage hall hallway corridor warehouse factory laboratory lab hospital
    shop store mall subway tunnel spaceship space moon underwater indoors outdoors outside
    inside landscape countryside wilderness background skyline horizon snow sand grass
    clearing path trail arena ruins pasture paddock ranch farmyard farmland plantation grove
    rainforest thicket lawn oasis dune plateau ridge summit slope crater volcano cavern gorge
    ravine tundra steppe moor bog wetland wetlands marshes bay gulf lagoon creek canal reef fjord
    seabed waterfront quay wharf jetty marina boardwalk promenade lighthouse windmill tower
    fortress monastery abbey chapel mosque synagogue pagoda shrine graveyard cemetery crypt
    dungeon prison jail courtroom hangar runway garage workshop shipyard platform crossing
    crosswalk intersection sidewalk pavement alleyway lane driveway suburb downtown metropolis
    terrace patio porch balcony veranda attic basement cellar lobby parlour parlor lounge ballroom
    staircase nursery gym bakery pharmacy bookshop bookstore supermarket diner pub tavern hotel
    motel nightclub cinema circus carnival fairground zoo aquarium observatory greenhouse
    campsite battlefield planet mars orbit
    """
)
TIMES_AND_LIGHTS = _words(
    """
    noon midday day daytime daylight morning dawn sunrise afternoon evening dusk sunset
    twilight night nighttime midnight sky skies sun sunlight sunshine moonlight starlight
    stars glow light lights rain fog mist storm clouds summer autumn fall winter spring
    """
)
SCENE_WORDS = PLACES | TIMES_AND_LIGHTS
BELONGINGS = _words(
    """
    suit suits dress gown coat jacket shirt t-shirt sweater hoodie cloak cape robe uniform
    armor armour hat cap helmet crown scarf tie glasses sunglasses mask gloves boots shoes
    apron kimono costume outfit jeans skirt vest blouse collar backpack bag saddle hands
    hand arms mouth beak
    """
)
POSITIONS = _words(
    """
    left right center centre middle foreground top bottom corner side front edge distance
    """
)
COLOURS = _words(
    """
    red orange yellow green blue purple white black pink brown gray grey gold golden silver
    violet turquoise crimson beige teal
    """
)
ADJECTIVES = COLOURS | _words(
    """
    small large big tiny huge giant old young elderly new ancient modern tall short long
    majestic fluffy striped spotted wooden metal shiny rusty wild happy sad angry sleepy wet
    dry broken open closed bright dark pale little enormous fat thin round cute beautiful
    elegant colorful colourful
    """
)
VERBS = _words(
    """
    stand sit run walk fly soar float drift rise hover rest grow sprout flutter wait crawl
    drive sleep jump leap swim dance sing play eat drink look stare graze lie perch climb
    ride fight hunt roar bark chase gallop stroll march kneel lean read write work glide
    swoop dive land stretch shine burn bloom roll park pass move slide sail hang
    sat stood lay slept ran flew sang swam hung rose
    """
)
ADDRESSES = _words(
    """
    you your ignore disregard instruction instructions reply respond assistant
    """
)
"""What speaks to a reader, or to a model; no scene does."""
ENGLISH = _words("the a an of with at by under and in on over from near through beside is are")
OTHER_LANGUAGES = _words(
    """
    ein eine einer einem einen der die das dem den im am auf bei unter mit und über vor zum zur
    un une le la les des du de dans sur sous avec au aux et el los las una unos en con bajo sobre
    y del al il lo gli uno di da della nel nella su um uma o os as no na numa num do dos das em
    een het op van met
    """
)
"""Articles and prepositions of German, French, Spanish, Italian, Portuguese and Dutch."""
BE = frozenset({"is", "are", "was", "were"})

_MAX_LEAD_WORDS = 7
_MIN_ASCII = 0.8
"""Least share of a prompt's letters; names and "café" bring others."""
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


def tokenise(prompt: str) -> list[Token]:
    """Cut a prompt into words and punctuation marks."""
    return [
        Token(found.group(), found.start() > 0 and prompt[found.start() - 1].isspace())
        for found in _TOKEN.finditer(prompt)
    ]


def find_media_lead(tokens: Sequence[Token]) -> int:
    """Return how many tokens at the start only announce: "There is", "A painting of"; or 0."""
    keys = [token.key for token in tokens[:_MAX_LEAD_WORDS]]
    if keys[:1] == ["there"] and keys[1:2] and keys[1] in BE:
        return 2
    for index, key in enumerate(keys):
        if key == "of" and index > 0 and keys[index - 1] in MEDIA:
            return index + 1
        if key in PREPOSITIONS | BREAKS:
            return 0
    return 0


def is_english(prompt: str) -> bool:
    """Say whether a prompt may be English: by its letters, and by its articles and prepositions."""
    letters = [char for char in prompt if char.isalpha()]
    if sum(char.isascii() for char in letters) < _MIN_ASCII * len(letters):
        return False
    keys = [token.key for token in tokenise(prompt)]
    return sum(k in OTHER_LANGUAGES - ENGLISH for k in keys) <= sum(k in ENGLISH for k in keys)


def is_content(key: str) -> bool:
    """Say whether a word carries meaning of its own."""
    is_word = key[0].isalnum()
    return is_word and key not in DETERMINERS | PREPOSITIONS | CONJUNCTIONS | BE | {"there"}


def write_sentence(tokens: Sequence[Token]) -> str:
    """Join tokens to a sentence with a capital and a full stop."""
    text = "".join(" " * token.has_space_before + token.text for token in tokens).strip()
    text = text.rstrip(" ,;:-—–")
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")
