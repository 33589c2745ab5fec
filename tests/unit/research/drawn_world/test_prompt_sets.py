"""The shipped prompt sets: as written by their program, varied, apart from each other, clean."""

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from coupled_core.config import PromptSetConfig, SplitConfig
from coupled_core.miniature import miniature_folder
from coupled_core.prompts.prompt_set import check_prompt_set, read_prompt_set
from coupled_core.records import GroupSplit, PromptGroup
from coupled_core.research.drawn_world.prompt_sets import (
    FILE_NAME,
    build_comparison_tables,
    build_example_table,
    main,
)
from coupled_core.research.drawn_world.scenes import BACKGROUNDS, COLOURS, ENTITIES, LIGHTS
from coupled_core.splitting.splitter import build_splitter

SETS = {"miniature-train": 72, "miniature-test": 216}


def _groups(name: str) -> list[PromptGroup]:
    items = read_prompt_set(PromptSetConfig(uri=name))
    return [item for item in items if isinstance(item, PromptGroup)]


def _words(prompt: str) -> set[str]:
    return {word.strip(".,") for word in prompt.lower().split()}


def test_the_sets_of_comparisons_are_what_their_program_writes() -> None:
    for file_name, table in build_comparison_tables().items():
        assert pq.read_table(miniature_folder("prompts") / file_name) == table


@pytest.mark.parametrize("name", SETS)
def test_a_set_has_pairs_only_and_every_place_in_every_light_equally_often(name: str) -> None:
    groups = _groups(name)
    places = Counter(tuple(group.group_id.split("-")[2:4]) for group in groups)
    assert {len(group.prompts) for group in groups} == {2}
    assert places == {(p, light): SETS[name] // 24 for p in BACKGROUNDS for light in LIGHTS}


def test_no_prompt_stands_in_two_sets_and_no_two_groups_start_from_one_noise() -> None:
    prompts = [{p for g in _groups(name) for p in g.prompts} for name in ("miniature", *SETS)]
    seeds = [group.seed for name in SETS for group in _groups(name)]
    assert sum(map(len, prompts)) == len(set.union(*prompts))
    assert None not in seeds
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("name", SETS)
def test_the_prompts_of_a_group_differ_in_entity_and_colour_alone(name: str) -> None:
    splits = build_splitter(SplitConfig()).split(_groups(name))
    kinds = Counter(split.variation_kind for split in splits if isinstance(split, GroupSplit))
    assert set(kinds) == {"entity_swap", "appearance"}
    assert kinds.total() == SETS[name]
    for group in _groups(name):
        first, second = (_words(prompt) for prompt in group.prompts)
        named = [{*ENTITIES, *COLOURS} & (words - other) for words, other in
                 ((first, second), (second, first))]  # fmt: skip
        assert all(named), group.prompts


def test_the_sets_show_every_entity_in_every_template() -> None:
    prompts = [prompt for name in SETS for group in _groups(name) for prompt in group.prompts]
    assert set().union(*map(_words, prompts)) >= {*ENTITIES, *COLOURS}
    openings = {prompt.split()[0] for prompt in prompts}
    assert openings >= {"A", "An", "In", "On", "At", "By", "Under", "There"}


def test_the_example_set_is_what_its_program_writes() -> None:
    assert pq.read_table(miniature_folder("prompts") / FILE_NAME) == build_example_table()


def test_the_example_set_has_enough_groups_of_each_size() -> None:
    summary = check_prompt_set(PromptSetConfig())
    sizes = Counter(len(group.prompts) for group in _groups("miniature"))
    assert summary.num_groups == 40
    assert sizes == {2: 30, 3: 6, 4: 4}


def test_the_example_set_shows_the_whole_world() -> None:
    ids = {tuple(group.group_id.split("-")[:2]) for group in _groups("miniature")}
    assert ids == {(place, light) for place in BACKGROUNDS for light in LIGHTS}
    words = {
        w.strip(".,") for g in _groups("miniature") for p in g.prompts for w in p.lower().split()
    }
    assert words >= set(ENTITIES)
    assert words >= set(COLOURS)


def test_rows_of_the_example_set_name_it_and_not_a_folder_of_this_machine() -> None:
    assert {group.source_file for group in _groups("miniature")} == {f"miniature/{FILE_NAME}"}


def test_a_fresh_set_is_the_same_for_its_seed_and_shares_no_prompt_with_the_shipped_ones(
    tmp_path: Path,
) -> None:
    first, again, other = (str(tmp_path / f"{name}.parquet") for name in "abc")
    for seed, path in (("971000", first), ("971000", again), ("972000", other)):
        main(["--fresh", seed, path])
    assert pq.read_table(first) == pq.read_table(again) != pq.read_table(other)
    fresh = {prompt for group in _groups(first) for prompt in group.prompts}
    shipped = {p for name in (*SETS, "miniature") for group in _groups(name) for p in group.prompts}
    assert len(_groups(first)) == 216 and fresh.isdisjoint(shipped)


def test_a_longer_fresh_set_begins_with_the_shorter_one(tmp_path: Path) -> None:
    tables = []
    for count in ("24", "48"):
        path = str(tmp_path / f"{count}.parquet")
        main(["--fresh", "971000", path, "--num-groups", count])
        tables.append(pq.read_table(path))
    assert [len(table) for table in tables] == [24, 48]
    assert tables[1].slice(0, 24) == tables[0]
