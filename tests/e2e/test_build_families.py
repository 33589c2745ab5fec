"""`coupled build` and `coupled plan` with tiny random models of each family.

Their pictures are noise, all else is real.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from diffusers import DiffusionPipeline

from tests.coupled_command import Coupled, read_rows, write_prompts
from tests.unit.generation.tiny_flux2_dev import build_flux2_dev
from tests.unit.generation.tiny_klein import build_klein
from tests.unit.generation.tiny_qwen import build_qwen

pytestmark = pytest.mark.timeout(300)
BUILDERS: Mapping[str, Callable[[], DiffusionPipeline]] = {
    "klein": build_klein,
    "flux2-dev": build_flux2_dev,
    "qwen": build_qwen,
}
KLEIN = "black-forest-labs/FLUX.2-klein-4B"


@pytest.mark.parametrize("name", BUILDERS)
def test_a_folder_of_each_family_goes_through_a_whole_build(coupled: Coupled, name: str) -> None:
    folder, pairs = coupled.folder / name, coupled.folder / "pairs"
    BUILDERS[name]().save_pretrained(folder)
    prompts = write_prompts(coupled.folder / "prompts.parquet", num_groups=2)
    code, _, log = coupled.run(
        "build", "--prompts", str(prompts), "--output", str(pairs), "--base-model", str(folder),
        "--unfit-judges", "--width", "64", "--height", "64", "--min-combined", "-100",
        "--num-inference-steps", "4",
    )  # fmt: skip
    assert code == 0, log
    rows = read_rows(pairs)
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["base_model"] for row in rows} == {str(folder)}
    assert {(row["num_inference_steps"], row["width"]) for row in rows} == {(4, 64)}


def test_a_model_of_another_class_is_refused_at_once_with_those_that_do(
    coupled: Coupled, tmp_path: Path
) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "ZImagePipeline"}')
    prompts = write_prompts(coupled.folder / "prompts.parquet", num_groups=1)
    code, _, log = coupled.run(
        "plan", "--prompts", str(prompts), "--base-model", str(tmp_path), "--unfit-judges"
    )
    assert code != 0
    assert "is a ZImagePipeline, which cannot be coupled yet" in log
    assert "FLUX.1 (FluxPipeline), FLUX.2 [klein] (Flux2KleinPipeline)" in log


def test_a_folder_of_configurations_alone_can_be_planned_and_not_built(coupled: Coupled) -> None:
    folder = coupled.folder / "configs"
    write_configs(folder)
    prompts = write_prompts(coupled.folder / "prompts.parquet", num_groups=1)
    options = ("--prompts", str(prompts), "--base-model", str(folder), "--unfit-judges")
    code, output, log = coupled.run("plan", *options)
    assert code == 0, log
    assert "FLUX.2 [klein], licence unknown" in output
    assert "mode log_bias, whose schedule was picked by hand, not fitted" in output
    assert "holds configurations alone: a build needs 16 GB of weights there" in output
    code, _, log = coupled.run("build", *options, "--output", str(coupled.folder / "pairs"))
    assert code != 0
    assert "text_encoder" in log and "safetensors" in log


def test_a_model_whose_configurations_are_in_the_cache_is_planned_by_its_name(
    coupled: Coupled,
) -> None:
    commit = "0" * 40
    cached = coupled.folder / "hub" / f"models--{KLEIN.replace('/', '--')}"
    write_configs(cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text(commit)
    code, output = plan_offline(coupled, KLEIN, "--json")
    assert code == 0, (coupled.folder / "log").read_text()
    needs = json.loads(output)["needs"]
    # 25 blocks: 26 d^2 for each of 4608 tokens, 4 d for each pair of them; four steps.
    assert needs["image_flops"] == 4 * 25 * (26 * 3072**2 * 4608 + 4 * 3072 * 4608**2)
    assert needs["download_bytes"] == 2 * (3_875_544_576 + 4_022_468_096 + 84_046_115)
    assert (needs["family"], needs["training"]) == ("FLUX.2 [klein]", "allowed")


def test_offline_a_name_that_is_in_no_cache_says_what_is_missing_and_what_to_type(
    coupled: Coupled,
) -> None:
    code, _ = plan_offline(coupled, KLEIN)
    assert code != 0
    log = " ".join((coupled.folder / "log").read_text().split())
    assert f"{KLEIN} is not in the local cache" in log
    assert f"hf download {KLEIN} --include '*.json'" in log


def plan_offline(coupled: Coupled, name: str, *more: str) -> tuple[int, str]:
    prompts = write_prompts(coupled.folder / "prompts.parquet", num_groups=1)
    variables = {"HF_HUB_CACHE": str(coupled.folder / "hub"), "HF_HUB_OFFLINE": "1"}
    elsewhere = Coupled(coupled.folder, {**coupled.environment, **variables})
    process = elsewhere.start(
        "plan", "--prompts", str(prompts), "--base-model", name, "--unfit-judges", *more
    )
    output, _ = process.communicate(timeout=200)
    return process.returncode, output


def write_configs(folder: Path) -> None:
    """Configurations of FLUX.2-klein-4B's geometry; the tokenizer is the tiny one's."""
    build_klein().save_pretrained(folder)
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    published = {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24}
    change(folder / "transformer/config.json", **published, attention_head_dim=128)
    change(folder / "vae/config.json", block_out_channels=[128, 256, 512, 512], sample_size=1024)


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
