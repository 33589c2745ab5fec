"""Scores, base models and methods of other packages, made by the README's recipes."""

import shutil
from pathlib import Path

from coupled_core.generation.model_files import KNOWN_MODELS
from coupled_core.miniature import miniature_folder
from tests.registered_package import follow_recipe, install_package, run_with_package

_CONFIG_FILES = (
    "model_index.json",
    "transformer/config.json",
    "vae/config.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer_2/tokenizer_config.json",
)

SCORE_A_PAIR = """
import json
import numpy as np
from coupled_core.dataset.rows import score_columns
from coupled_core.records import EntityMask
from coupled_core.scoring.metrics import score_pair
from tests.sample_shards import sample_run_facts

images = tuple(np.full((8, 8, 3), level, np.uint8) for level in (100, 130))
masks = (np.zeros((8, 8), bool), np.eye(8, dtype=bool))
unit = np.ones(4) / 2
scores = score_pair(images, masks, (unit, unit), (unit, unit))
entities = tuple(EntityMask(mask, 0.9, False) for mask in masks)
row = score_columns(scores, entities, sample_run_facts("run"))
print(json.dumps([row["extra_scores"], row["pixel_mse"]]))
"""


def test_a_registered_score_is_measured_and_stands_in_the_manifests_row(tmp_path: Path) -> None:
    follow_recipe("scores", tmp_path)
    assert run_with_package(tmp_path, SCORE_A_PAIR) == ['{"brightness_gap": 30.0}', 900.0]


def test_without_registered_scores_the_column_is_null(tmp_path: Path) -> None:
    assert run_with_package(tmp_path, SCORE_A_PAIR) == [None, 900.0]


def test_a_score_that_is_not_finite_is_null_in_the_row(tmp_path: Path) -> None:
    code = "def measure(*pair):\n    return float('inf')"
    install_package(tmp_path, "scores", "endless", code, "endless = endless:measure")
    assert run_with_package(tmp_path, SCORE_A_PAIR)[0] == '{"endless": null}'


def test_a_registered_filter_decides_by_a_registered_score(tmp_path: Path) -> None:
    follow_recipe("scores", tmp_path)
    code = """
from coupled_core.filters import Filter
GAP = Filter(reason="little_contrast", words="Both images are equally bright.", setting="min_gap",
             default=20.0, columns=("brightness_gap",), is_minimum=True, title="Least contrast",
             measure="difference of mean brightness")"""
    install_package(tmp_path, "filters", "my_filters", code, "gap = my_filters:GAP")
    program = f"""
import json
from coupled_core.dataset.reader import current_snapshot, iter_manifest
from coupled_core.dataset.upkeep.damage import Flaw
from coupled_core.dataset.upkeep.recut import recut
from coupled_core.dataset.upkeep.verify import verify_snapshot
from coupled_core.report.report import make_report
from coupled_core.storage.open_store import open_store
from tests.sample_pairs import SamplePair, commit_pairs

store = open_store({str(tmp_path / "pairs")!r})
extra = ({{"brightness_gap": 10.0}}, {{"brightness_gap": 30.0}}, {{}})
commit_pairs(store, [SamplePair(extra_scores=each) for each in extra], store_dropped=True)
def read():
    batches = iter_manifest(store, current_snapshot(store).parts)
    return [row["reject_reasons"] for batch in batches for row in batch.to_pylist()]
built = read()
recut(store, {{"min_gap": 5.0}})
page = make_report(store, current_snapshot(store)).page
damage = verify_snapshot(store, current_snapshot(store)).damage.listed
wrong = [each.got for each in damage if each.check is Flaw.THRESHOLDS]
print(json.dumps([built, read(), "Least contrast" in page, wrong]))
"""
    dropped = ["little_contrast"]
    # The third pair has no such score, so the filter says nothing of it.
    expected = [[dropped, [], []], [[], [], []], True, []]
    assert run_with_package(tmp_path, program) == expected


def test_a_score_with_the_name_of_one_of_ours_is_refused(tmp_path: Path) -> None:
    code = "def measure(*pair):\n    return 1.0"
    install_package(tmp_path, "scores", "mine", code, "combined = mine:measure")
    program = f"""
import json
from coupled_core.errors import ConfigError
try:
    exec({SCORE_A_PAIR!r})
except ConfigError as error:
    print(json.dumps(str(error)))
"""
    assert "scores ['combined'], but these names are taken" in run_with_package(tmp_path, program)


def test_a_registered_base_model_is_known_with_its_defaults_and_licence(tmp_path: Path) -> None:
    follow_recipe("base_models", tmp_path)
    _cache_configs(tmp_path / "cache", "my-org/tuned-flux")
    program = """
import json
from dataclasses import asdict
from coupled_core.config import GenerationConfig
from coupled_core.generation.provenance import resolve
found = resolve(GenerationConfig(base_model="my-org/tuned-flux", device="cpu"))
print(json.dumps(asdict(found.provenance)))
"""
    cache = {"HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    found = run_with_package(tmp_path, program, **cache)
    dev = KNOWN_MODELS["black-forest-labs/FLUX.1-dev"]
    assert (found["base_model"], found["num_inference_steps"]) == ("my-org/tuned-flux", 20)
    assert (found["license"], found["width"]) == (dev.license, dev.size_px)
    assert found["coupling_mode"] == dev.coupling_mode


def test_a_package_can_ship_weights_and_schedules_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "schedules").mkdir()
    shipped = KNOWN_MODELS["miniature"].schedule_folder
    shutil.copy(shipped / "miniature-log-bias.json", tmp_path / "schedules" / "twin-log-bias.json")
    code = f"""
from dataclasses import replace
from pathlib import Path
from coupled_core.generation.model_files import KNOWN_MODELS
TWIN = replace(
    KNOWN_MODELS["miniature"],
    id="twin",
    coupling_mode="log_bias",
    schedule_name="twin",
    schedule_folder=Path({str(tmp_path / "schedules")!r}),
)"""
    install_package(tmp_path, "base_models", "twins", code, "twin = twins:TWIN")
    program = """
import json
from coupled_core.config import GenerationConfig
from coupled_core.generation.provenance import resolve_generation
twin, ours = (resolve_generation(GenerationConfig(base_model=name, coupling_mode="log_bias"))
              for name in ("twin", "miniature"))
print(json.dumps([twin.base_model, twin.schedule_id == ours.schedule_id,
                  twin.base_model_revision == ours.base_model_revision]))
"""
    assert run_with_package(tmp_path, program) == ["twin", True, True]


def test_a_registered_method_is_listed_and_makes_images(tmp_path: Path) -> None:
    follow_recipe("methods", tmp_path)
    program = """
import json
from coupled_core.config import GenerationConfig
from coupled_core.research.comparison.settings import CompareSettings
from coupled_core.research.methods.registry import list_methods, load_methods
from coupled_core.research.methods.vitality import read_samples
config = GenerationConfig(num_inference_steps=2, device="cpu")
methods = load_methods(["same-start", "random-seed"], config)
(ours,), (theirs,) = (
    method.generate(read_samples("miniature", 1), {}) for method in methods.values()
)
same = all((a == b).all() for a, b in zip(ours.images, theirs.images))
compared = CompareSettings(methods=("same-start",)).methods
print(json.dumps([list_methods()[-1], compared, len(ours.images), same]))
"""
    assert run_with_package(tmp_path, program) == [
        "same-start",
        ["coupled", "same-start"],
        2,
        True,
    ]


def test_an_entry_point_that_does_not_load_is_named(tmp_path: Path) -> None:
    install_package(tmp_path, "methods", "broken", "import nowhere", "broken = broken:build")
    program = """
import json
from coupled_core.errors import ConfigError
from coupled_core.research.methods.registry import list_methods
try:
    list_methods()
except ConfigError as error:
    print(json.dumps(str(error)))
"""
    found = run_with_package(tmp_path, program)
    assert "broken = broken:build of coupled_images.methods does not load" in found


def _cache_configs(cache: Path, model_id: str) -> None:
    """Lay a model's configuration into a hub cache, as a download of it would."""
    repository = cache / f"models--{model_id.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    for name in _CONFIG_FILES:
        path = repository / "snapshots" / commit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(miniature_folder("flux") / name, path)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
