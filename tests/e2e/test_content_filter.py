"""`coupled build --content-filter`: what a list forbids is not made, or made and not kept."""

import json
from typing import Any

from coupled_core.dataset.parts import PartKind
from coupled_core.dataset.reader import current_snapshot
from coupled_core.storage.open_store import open_store
from tests.coupled_command import Coupled, build_arguments, read_rows, write_prompts
from tests.stored_images import iter_images

NO_BALLOONS = {
    "name": "no-balloons",
    "concepts": {"balloon": ["An orange balloon on a beach by the sea"]},
    "neutral": [
        "A purple butterfly in a vibrant meadow",
        "A black rabbit in a vibrant meadow",
        "A black kite on a beach by the sea",
    ],
    "margin": -0.05,
    "forbidden_words": ["white car"],
}


def test_forbidden_prompts_are_not_made_and_forbidden_images_not_kept(coupled: Coupled) -> None:
    write_prompts(coupled.folder / "prompts.parquet", 3)
    (coupled.folder / "list.json").write_text(json.dumps(NO_BALLOONS))
    steps = ("--num-inference-steps", "12")
    options = ("--content-filter", "list.json", *steps, "--min-combined", "-99", "--json")
    code, output, errors = coupled.run(*build_arguments(*options))
    assert code == 0, errors
    rows = read_rows(coupled.folder / "pairs")
    car, balloon, meadow = (_about(rows, words) for words in ("white car", "balloon", "meadow"))
    assert [(row["status"], row["reject_reasons"]) for row in car] == [("failed", ["unsafe"])] * 2
    assert [(row["status"], row["reject_reasons"]) for row in balloon] == [("ok", ["unsafe"])]
    assert [row["content_concepts"] for row in (*balloon, *meadow)] == [["balloon"], []]
    assert "unsafe" not in meadow[0]["reject_reasons"]
    (version,) = {row["content_filter_version"] for row in (*balloon, *meadow)}
    assert ":no-balloons:" in version
    assert json.loads(output)["funnel"]["dropped_by_reason"]["unsafe"] == 1
    store = open_store(coupled.folder / "pairs")
    snapshot = current_snapshot(store)
    assert snapshot is not None
    kinds: tuple[PartKind, ...] = ("images", "dropped")
    for kind in kinds:
        batches = iter_images(store, snapshot.parts, kind=kind)
        stored = {name for batch in batches for name in batch["pair_id"].to_pylist()}
        assert balloon[0]["pair_id"] not in stored


def _about(rows: list[dict[str, Any]], words: str) -> list[dict[str, Any]]:
    return [row for row in rows if words in f"{row['prompt_0']} {row['prompt_1']}"]
