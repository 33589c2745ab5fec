"""The table of filters: every reader has each entry, and other packages can add theirs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from coupled_core.config import FilterConfig, RunConfig, ScoringConfig, fingerprint
from coupled_core.dataset.columns import MANIFEST_SCHEMA
from coupled_core.dataset.reader import current_snapshot, iter_manifest
from coupled_core.dataset.upkeep.recut import recut
from coupled_core.errors import ConfigError
from coupled_core.filters import (
    BACKGROUND_CHANGED,
    BUILT_IN,
    CROPPED,
    MIN_COMBINED,
    NUMBERS,
    OTHER_REASONS,
    SEAM,
    Filter,
    describe_reason,
    find_objections,
    list_filters,
    order_reasons,
    render_table,
)
from coupled_core.records import RejectReason
from coupled_core.report.distributions import list_metrics
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore
from tests.sample_pairs import FILTER, SamplePair, commit_pairs

ROOT = Path(__file__).parent.parent.parent
TABLE = (ROOT / "coupled_core/filtering/README.md").read_text(encoding="utf-8")
RECIPES = (ROOT / "coupled_core/README.md").read_text(encoding="utf-8")
OF_EACH_FILTER = pytest.mark.parametrize("each", list_filters(), ids=lambda each: each.reason)
GOOD_ROW = dict.fromkeys(NUMBERS, 0.2) | {"combined": 1.5, "pixel_mse": 300.0}


@OF_EACH_FILTER
def test_each_filter_has_a_setting_with_its_default_and_a_description(each: Filter) -> None:
    field = FilterConfig.model_fields[each.setting]
    default = None if each.miniature_default is not None else each.default
    assert field.default == getattr(FilterConfig(), each.setting) == default
    assert field.description == each.description


@OF_EACH_FILTER
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_no_setting_takes_what_is_not_a_finite_number(each: Filter, value: str) -> None:
    with pytest.raises(ValidationError, match="finite"):
        FilterConfig.model_validate({each.setting: value})


@OF_EACH_FILTER
def test_a_setting_stays_within_the_limits_of_its_filter(each: Filter) -> None:
    beyond = {"gt": 0.0, "ge": -1e-9, "lt": 0.0, "le": 1e-9}
    for sign, limit in each.limits.items():
        with pytest.raises(ValidationError, match=each.setting):
            FilterConfig.model_validate({each.setting: limit + beyond[sign]})


def test_settings_of_the_filters_of_this_package_are_named_in_run_ids_as_ever() -> None:
    ever = {
        "min_combined": 1.0,
        "max_mask_fraction": 0.5,
        "min_mask_fraction": 0.002,
        "min_pixel_mse": 4.0,
        "min_background_similarity": -651.0,
        "max_rim_seam": 255.0,
        "max_crop_evidence": 1000.0,
    }
    used = RunConfig(scoring=ScoringConfig(clip_model="ViT-L-14:openai")).filter
    assert used.model_dump(mode="json") == ever
    assert fingerprint(used) == fingerprint(ever)


@OF_EACH_FILTER
def test_each_filter_objects_beyond_its_bound_with_value_and_bound(each: Filter) -> None:
    bound = 0.25
    for column in each.columns:
        wrong = bound - 0.125 if each.is_minimum else bound + 0.125
        fine = dict.fromkeys(NUMBERS, bound)
        (sentence,) = each.find_objections(fine | {column: wrong}, bound)
        assert each.find_objections(fine, bound) == []
        assert column in sentence
        assert f"{wrong:g}" in sentence
        assert f"{each.setting} 0.25" in sentence


@OF_EACH_FILTER
@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_number_that_is_missing_passes_no_filter(each: Filter, nothing: float | None) -> None:
    if nothing is None and each.reason in ("background_changed", "seam", "cropped"):
        return  # null says there that the row is older than the score
    for column in each.columns:
        bounds = {each.setting: each.default}
        reasons = {r for r, _ in find_objections(GOOD_ROW | {column: nothing}, bounds)}
        assert each.reason in reasons
    assert find_objections(GOOD_ROW, {}) == []


def test_runs_from_before_a_filter_were_not_decided_by_it() -> None:
    later = ("background_similarity_clear", "rim_seam", "crop_evidence_0", "crop_evidence_1")
    old = GOOD_ROW | dict.fromkeys(later)
    assert find_objections(old, {"min_combined": 1.0}) == []


def test_a_later_score_does_not_speak_against_rows_that_it_never_measured() -> None:
    old = GOOD_ROW | {"rim_seam": None}
    assert find_objections(old, {"max_rim_seam": 0.0}) == []
    assert find_objections(old | {"rim_seam": float("nan")}, {"max_rim_seam": 255.0}) != []


@OF_EACH_FILTER
def test_the_report_shows_the_number_of_each_filter_with_its_bound(each: Filter) -> None:
    assert [metric for metric in list_metrics() if metric.is_bounded_by(each)]


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    """A dataset of pairs that differ in all that filters look at; images of dropped ones, too."""
    random = np.random.default_rng(5)
    pairs = [
        SamplePair(
            combined=random.uniform(0.8, 2.0),
            mask_side=random.choice([0.0, *np.linspace(0.1, 0.8, 8)]),
            pixel_mse=10 ** random.uniform(0.0, 3.0),
            background_similarity_clear=random.uniform(-2.0, 0.0),
            rim_seam=random.uniform(0.0, 3.0),
            crop_evidence=random.uniform(0.0, 1.0),
        )
        for _ in range(60)
    ]
    dataset = open_store(tmp_path / "pairs")
    commit_pairs(dataset, pairs, store_dropped=True)
    return dataset


def _rows(store: ObjectStore) -> list[dict[str, Any]]:
    snapshot = current_snapshot(store)
    assert snapshot is not None
    return [row for batch in iter_manifest(store, snapshot.parts) for row in batch.to_pylist()]


@OF_EACH_FILTER
def test_a_recut_drops_by_each_filter_and_takes_back(each: Filter, store: ObjectStore) -> None:
    before = {row["pair_id"]: row["reject_reasons"] for row in _rows(store)}
    weakest = min if each.is_minimum else max
    kept = {
        row["pair_id"]: weakest(row[n] for n in each.columns) for row in _rows(store) if row["kept"]
    }
    bound = sorted(kept.values())[len(kept) // 2]
    fails = {pair_id for pair_id, number in kept.items() if not each.passes(number, bound)}
    assert fails
    assert recut(store, {each.setting: bound}).num_dropped == len(fails)
    after = {row["pair_id"]: row["reject_reasons"] for row in _rows(store)}
    assert {pair_id for pair_id in kept if after[pair_id] == [each.reason]} == fails
    assert recut(store, {each.setting: each.default}).num_kept == len(fails)
    assert {row["pair_id"]: row["reject_reasons"] for row in _rows(store)} == before


def test_rows_are_decided_as_pairs_in_memory_were(store: ObjectStore) -> None:
    thresholds = FILTER.model_dump()
    decided = {
        tuple(dict.fromkeys(reason for reason, _ in find_objections(row, thresholds))): tuple(
            row["reject_reasons"]
        )
        for row in _rows(store)
    }
    assert all(again == first for again, first in decided.items())
    found = {reason for reasons in decided for reason in reasons}
    assert found == {f.reason for f in BUILT_IN if f not in (BACKGROUND_CHANGED, SEAM, CROPPED)}


@pytest.mark.parametrize(
    ("thresholds", "said"),
    [
        ({}, "name at least one"),
        ({"min_combined": float("nan")}, "--min-combined: .* finite number .got nan"),
        ({"max_mask_fraction": 7.0}, "--max-mask-fraction: .*less than or equal to 1"),
        ({"min_combind": 1.0}, "--min-combind"),
    ],
)
def test_a_recut_by_what_is_no_threshold_is_refused(
    thresholds: dict[str, float], said: str, store: ObjectStore
) -> None:
    with pytest.raises(ConfigError, match=said):
        recut(store, thresholds)


def test_every_reason_is_explained_in_words_of_its_own() -> None:
    assert set(OTHER_REASONS) == set(RejectReason)
    reasons = [*(each.reason for each in list_filters()), *RejectReason]
    words = [describe_reason(reason) for reason in reasons]
    assert len({*words, describe_reason("what is this")}) == len(reasons) + 1
    assert all(words)


def test_reasons_stand_in_the_order_of_the_table_and_unknown_ones_last() -> None:
    given = ["strange", "unsafe", "near_identical", "not_best", "below_min_combined", "unsafe"]
    expected = ["below_min_combined", "near_identical", "not_best", "unsafe", "strange"]
    assert order_reasons(given) == expected


def test_the_readme_has_the_table_as_it_is() -> None:
    assert render_table() in TABLE, "put what `filters.render_table` returns there"


def test_a_filter_can_look_at_every_real_number_that_is_measured() -> None:
    measured = [f for f in MANIFEST_SCHEMA if f.metadata[b"stage"] == b"score"]
    assert {f.name for f in measured if pa.types.is_floating(f.type)} == set(NUMBERS)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"columns": ("split",)}, "split"), ({"columns": ()}, "none"), ({"default": "nan"}, "nan")],
)
def test_an_entry_that_could_not_work_is_refused(wrong: dict[str, Any], said: str) -> None:
    given = {name: getattr(MIN_COMBINED, name) for name in Filter.__dataclass_fields__} | wrong
    with pytest.raises(ConfigError, match=f"below_min_combined.*got {said}"):
        Filter(**given | {"default": float(given["default"])})


def _install(folder: Path, module: str, entry_points: str) -> dict[str, str]:
    """Make a package of one module, as an installer leaves it; return what a process needs."""
    (folder / "my_filters.py").write_text(module)
    metadata = folder / "my_filters-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-filters\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entry_points)
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}


def _run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)


def _observe(environment: dict[str, str], folder: Path) -> dict[str, Any]:
    program = "tests.filter_of_another_package"
    done = _run(environment, "-m", program, str(folder), "min_background_ssim")
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def _recipe() -> tuple[str, str]:
    """Return the module of the README's recipe, and its entry point as an installer writes it."""
    recipe = RECIPES.split("* **A filter**", 1)[1].split("\n* **", 1)[0]
    blocks = re.findall(r"```\w+\n(.*?)```", recipe, re.DOTALL)
    module, project = (re.sub(r"^  ", "", block, flags=re.MULTILINE) for block in blocks)
    group, entry = re.search(r'\[project\.entry-points\."(.*)"\]\n(.*) = "', project).groups()  # type: ignore[union-attr]
    place = re.search(r' = "(.*)"', project).group(1)  # type: ignore[union-attr]
    return module, f"[{group}]\n{entry} = {place}\n"


def test_the_recipe_of_the_readme_makes_a_filter_that_works_everywhere(tmp_path: Path) -> None:
    seen = _observe(_install(tmp_path, *_recipe()), tmp_path)
    reason = ["unsteady_background"]
    assert (seen["default"], seen["built"]) == (0.8, [reason, reason, []])
    assert seen["description"] == "Least structural similarity of the backgrounds."
    assert seen["recuts"] == {"0.6": [reason, [], []], "0.95": [reason] * 3, "0.8": seen["built"]}
    assert seen["damage"] == []
    sentence = "background_ssim 0.9000 is below min_background_ssim 0.95"
    assert seen["damage_beyond"] == [f"unsteady_background ({sentence})"]
    assert seen["without_the_setting"] == []
    page = seen["page"]
    assert "unsteady_background<small>The structure of the background changed.</small>" in page
    assert '<figure class="survival" data-threshold="min_background_ssim">' in page
    assert re.search(r"Background SSIM: 1 kept and 2 dropped [^\"]*; threshold at 0.8", page)


def test_a_reason_that_a_recut_must_not_take_back_stays(tmp_path: Path) -> None:
    module, entry_points = _recipe()
    module = module.replace("reason=", "recut_takes_back=False, reason=")
    seen = _observe(_install(tmp_path, module, entry_points), tmp_path)
    reason = ["unsteady_background"]
    assert seen["recuts"] == {"0.6": seen["built"], "0.95": [reason] * 3, "0.8": [reason] * 3}


def test_a_number_that_no_other_chart_shows_gets_one_of_its_own(tmp_path: Path) -> None:
    module, entry_points = _recipe()
    module = module.replace('"background_ssim"', '"validity_ratio"')
    environment = _install(tmp_path, module, entry_points)
    code = "from coupled_core.report.distributions import list_metrics; print(list_metrics()[12:])"
    shown = _run(environment, "-c", code).stdout
    assert "title='Steadiest background'" in shown
    assert "meaning='Structural similarity of the backgrounds.'" in shown
    assert "columns=('validity_ratio',)" in shown


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("7", "expected a coupled_core.filters.Filter; got int"),
        ("replace(NEAR_IDENTICAL, setting='mine')", "another filter has near_identical"),
        ("replace(NEAR_IDENTICAL, reason='mine')", "another filter has min_pixel_mse"),
        ("replace(NEAR_IDENTICAL, reason='unsafe', setting='mine')", "another filter has unsafe"),
        ("replace(NEAR_IDENTICAL, columns=('prompt_0',))", "expected columns among joint_entity"),
    ],
)
def test_a_package_s_entry_that_cannot_be_used_is_named(
    value: str, said: str, tmp_path: Path
) -> None:
    imports = "from dataclasses import replace\nfrom coupled_core.filters import NEAR_IDENTICAL\n"
    entry_points = "[coupled_images.filters]\nmine = my_filters:MINE\n"
    environment = _install(tmp_path, f"{imports}MINE = {value}\n", entry_points)
    done = _run(environment, "-c", "import coupled_core.filters as f; f.list_filters()")
    assert "ConfigError: entry point mine" in done.stderr
    assert said in done.stderr


def test_all_filters_of_this_package_are_listed_first() -> None:
    assert list_filters()[: len(BUILT_IN)] == BUILT_IN
