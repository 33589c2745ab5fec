"""`coupled build` with a tiny random FLUX.2 [klein]: its pictures are noise, all else is real."""

from pathlib import Path

import pytest

from tests.coupled_command import Coupled, read_rows, write_prompts
from tests.unit.generation.tiny_klein import build_klein

pytestmark = pytest.mark.timeout(300)


def test_a_folder_of_flux_2_goes_through_a_whole_build(coupled: Coupled) -> None:
    folder, pairs = coupled.folder / "klein", coupled.folder / "pairs"
    build_klein().save_pretrained(folder)
    prompts = write_prompts(coupled.folder / "prompts.parquet", num_groups=2)
    code, _, log = coupled.run(
        "build", "--prompts", str(prompts), "--output", str(pairs), "--base-model", str(folder),
        "--unfit-judges", "--width", "64", "--height", "64", "--min-combined", "-100",
    )  # fmt: skip
    assert code == 0, log
    rows = read_rows(pairs)
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["base_model"] for row in rows} == {str(folder)}
    assert {(row["num_inference_steps"], row["width"]) for row in rows} == {(4, 64)}


def test_a_model_of_another_class_is_refused_at_once_with_those_that_do(
    coupled: Coupled, tmp_path: Path
) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "QwenImagePipeline"}')
    prompts = write_prompts(coupled.folder / "prompts.parquet", num_groups=1)
    code, _, log = coupled.run(
        "plan", "--prompts", str(prompts), "--base-model", str(tmp_path), "--unfit-judges"
    )
    assert code != 0
    assert "is a QwenImagePipeline, which cannot be coupled yet" in log
    assert "FLUX.1 (FluxPipeline), FLUX.2 [klein] (Flux2KleinPipeline)" in log
