"""`coupled generate`: files, seeds, and what is shown meanwhile."""

import logging
from pathlib import Path

import pytest
from PIL import Image

from tests.unit.flows.cli.invoke import run, run_json

PROMPTS = ("A red kite flies over a beach at noon", "A blue balloon floats over a beach at noon")
FEW = ("--num-inference-steps", "2", "--device", "cpu")


def test_a_folder_gets_each_image_of_each_seed_and_the_sheet(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "images"
    document = run_json("generate", *PROMPTS, "--output-dir", str(folder), "--seeds", "2", *FEW)
    seed = document["seed"]
    names = [f"{number}-{index}.png" for number in (seed, seed + 1) for index in (0, 1)]
    assert [Path(place).name for place in document["images"]] == names
    assert sorted(place.name for place in folder.iterdir()) == sorted([*names, "sheet.png"])
    assert [pair["seed"] for pair in document["pairs"]] == [seed, seed + 1]
    sheet = Image.open(document["picture"])
    assert sheet.size == (64 + 8 + 64, 2 * 64)
    second = Image.open(folder / f"{seed + 1}-1.png")
    assert second.tobytes() == sheet.crop((72, 64, 136, 128)).tobytes()
    assert second.tobytes() != Image.open(folder / f"{seed}-1.png").tobytes()


def test_steps_and_verdict_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "coupled_core")
    code, output, errors = run("generate", *PROMPTS, "-o", str(tmp_path / "pair.png"), *FEW)
    assert code == 0, errors
    assert "generate: 0 of 1, seed 1 of 1, step 1 of 2" in caplog.messages
    assert "images 0 and 1: " in output
    assert all(len(line) <= 120 for line in output.splitlines() if "picture" not in line)


def test_a_place_for_the_images_is_needed() -> None:
    code, _, errors = run("generate", *PROMPTS)
    assert (code, errors.count("\n")) == (2, 1)
    assert "--output-dir" in errors


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, errors = run("generate", *PROMPTS, "--output-dir", str(tmp_path / "file" / "x"), *FEW)
    assert code == 2 and "cannot make" in errors


def test_a_picture_that_cannot_be_written_is_named_before_anything_is_loaded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "coupled_core")
    place = tmp_path / "missing" / "pair.png"
    code, _, errors = run("generate", *PROMPTS, "-o", str(place), *FEW)
    assert code == 2 and f"cannot write {place}" in errors
    assert not [line for line in caplog.messages if line.startswith("generate")]
