"""One background is in one partition, however it is worded."""

import hashlib
from itertools import count

import pytest

from coupled_core.dataset.backgrounds import canonical_background, partition_of_background


@pytest.mark.parametrize(
    ("wording", "other"),
    [
        ("A  quiet Lake.\n", "a quiet lake"),
        ("a vibrant meadow", "The vibrant meadow"),
        ("in a vibrant meadow, at noon", "At noon in a vibrant meadow."),
        ("a view of the meadow's edge", "the edge of meadows"),
        ("beaches with boxes", "a beach with a box"),
        ("Café im Regen", "cafe\u0301 im regen"),
        ("ｆｕｌｌ width city", "full width city"),
    ],
)
def test_wordings_of_one_background_are_in_one_partition(wording: str, other: str) -> None:
    assert canonical_background(wording) == canonical_background(other)
    assert partition_of_background(wording) == partition_of_background(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a vibrant meadow at noon", "a vibrant meadow at night"),
        ("a glass", "a glas house"),
        ("in", "on"),
        ("雪原の夕暮れ", "砂漠の夕暮れ"),
    ],
)
def test_other_places_stay_other_places(one: str, other: str) -> None:
    assert canonical_background(one) != canonical_background(other)
    assert canonical_background(one)


def test_backgrounds_are_partitioned_90_5_5() -> None:
    partitions = [partition_of_background(f"valley number {index}") for index in range(4000)]
    shares = [partitions.count(name) / 4000 for name in ("train", "val", "test")]
    assert shares == pytest.approx([0.9, 0.05, 0.05], abs=0.015)


@pytest.mark.parametrize(
    ("bucket", "partition"),
    [(0, "train"), (89, "train"), (90, "val"), (94, "val"), (95, "test"), (99, "test")],
)
def test_ninety_of_a_hundred_buckets_are_train_five_val_and_five_test(
    bucket: int, partition: str
) -> None:
    """Another bound would move backgrounds: datasets would hold some of them in two partitions."""
    words = (f"lake{number}" for number in count())
    digests = ((word, hashlib.sha256(word.encode()).digest()) for word in words)
    word = next(w for w, d in digests if int.from_bytes(d[:8], "big") % 100 == bucket)
    assert partition_of_background(word) == partition
