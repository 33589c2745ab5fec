"""The shipped example set: as written by its program, varied enough, and clean."""

from collections import Counter

import pyarrow.parquet as pq

from coupled_core.config import PromptSetConfig
from coupled_core.miniature import miniature_folder
from coupled_core.miniature.prompt_sets import FILE_NAME, build_example_table
from coupled_core.miniature.world import BACKGROUNDS, COLOURS, ENTITIES, LIGHTS
from coupled_core.prompts.prompt_set import check_prompt_set, read_prompt_set
from coupled_core.records import PromptGroup


def _groups() -> list[PromptGroup]:
    return [g for g in read_prompt_set(PromptSetConfig()) if isinstance(g, PromptGroup)]


def test_the_shipped_file_is_what_its_program_writes() -> None:
    assert pq.read_table(miniature_folder("prompts") / FILE_NAME) == build_example_table()


def test_it_has_enough_groups_of_each_size() -> None:
    summary = check_prompt_set(PromptSetConfig())
    sizes = Counter(len(group.prompts) for group in _groups())
    assert summary.num_groups == 40
    assert sizes == {2: 30, 3: 6, 4: 4}


def test_it_shows_the_whole_world() -> None:
    ids = {tuple(group.group_id.split("-")[:2]) for group in _groups()}
    assert ids == {(place, light) for place in BACKGROUNDS for light in LIGHTS}
    words = {w.strip(".,") for g in _groups() for p in g.prompts for w in p.lower().split()}
    assert words >= set(ENTITIES)
    assert words >= set(COLOURS)


def test_its_rows_name_the_set_and_not_a_folder_of_this_machine() -> None:
    assert {group.source_file for group in _groups()} == {f"miniature/{FILE_NAME}"}
