"""`coupled_core` as others import it: what it offers, and what the README shows of it."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import coupled_core
from coupled_core.miniature import miniature_folder
from coupled_core.research.drawn_world.render import draw_scene
from coupled_core.research.drawn_world.scenes import Scene

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "coupled_core" / "README.md"


def _blocks() -> list[str]:
    section = README.read_text(encoding="utf-8").split("\n## From Python\n", 1)[1]
    return re.findall(r"```python\n(.*?)```", section.split("\n## ", 1)[0], re.DOTALL)


def _run(block: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(block, f"{README}, From Python", "exec"), names)
    return names


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with the files that the README's lines name."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "FOLDER").symlink_to(miniature_folder("flux"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def _find(name: str) -> str:
    [found] = [block for block in _blocks() if re.search(rf"\b{name}\(", block)]
    return found


def test_the_readmes_pair_is_made_scored_and_saved(folder: Path) -> None:
    names = _run(_blocks()[0])
    assert "beach at noon" in names["pair"].split.background_prompt
    assert names["pair"].decision.kept and names["pair"].scores.combined > 4.4
    assert Image.open(folder / "kite.png").size == (64, 64)


def test_the_readmes_own_pipeline_makes_a_pair(folder: Path) -> None:
    names = _run(_find("from_pretrained"))
    assert [image.size for image in names["pair"].images] == [(64, 64), (64, 64)]
    assert names["pair"].scores is None


def test_the_readmes_two_images_are_scored(folder: Path) -> None:
    for index, (entity, colour) in enumerate([("kite", "red"), ("balloon", "blue")]):
        scene = Scene("beach", "noon", (0.0,) * 6, texture_seed=3, entity=entity, colour=colour)
        Image.fromarray(draw_scene(scene)[0]).save(f"image_{index}.png")
    names = _run(_find("score_images"))
    assert [mask.mask.shape for mask in names["masks"]] == [(64, 64), (64, 64)]
    assert names["scores"].clip_sim_0 > 0.5 and names["scores"].clip_sim_1 > 0.5


def test_the_readmes_dataset_is_built_and_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _run(_find("build_dataset"))
    assert capsys.readouterr().out == "1 pairs kept\n"
    names = _run(_find("open_dataset"))
    assert names["table"].column_names == ["pair_id", "combined", "reject_reasons"]
    [pair_id] = names["table"]["pair_id"].to_pylist()
    assert (folder / f"{pair_id}.png").exists()
    assert all(Path(part).is_file() for part in names["parts"])


def test_no_block_of_the_readme_is_left_untested_or_long() -> None:
    shown = [_blocks()[0], *map(_find, ("from_pretrained", "score_images", "build_dataset"))]
    assert {*_blocks()} == {*shown, _find("open_dataset")}
    for block in _blocks():
        lines = [line for line in block.splitlines() if line and "import" not in line]
        assert len(lines) <= 5, block


def test_importing_it_imports_nothing_else() -> None:
    code = "import sys; old = {*sys.modules}; import coupled_core; print(*{*sys.modules} - old)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = ("torch", "numpy", "pyarrow", "pydantic", "PIL", "diffusers", "prefect", "boto3")
    imported = set(done.stdout.split())
    assert not imported.intersection(heavy)
    assert {name for name in imported if name.startswith("coupled_core")} == {"coupled_core"}


def test_building_brings_no_prefect() -> None:
    code = "import sys, coupled_core; coupled_core.build_dataset; print('prefect' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", coupled_core.__all__)
def test_every_public_name_is_there_and_listed(name: str) -> None:
    assert getattr(coupled_core, name) is not None
    assert name in dir(coupled_core)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(coupled_core.__file__).read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    names = [a.name for n in block.body if isinstance(n, ast.ImportFrom) for a in n.names]
    assert sorted([*names, "__version__"]) == sorted(coupled_core.__all__)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'make_pairs'"):
        _ = coupled_core.make_pairs


def test_the_version_is_that_of_pyproject() -> None:
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert coupled_core.__version__ == stated
