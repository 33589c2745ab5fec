"""Compiled blocks: a bounded number of graphs, whatever comes, and the images of the plain ones."""

import pytest
from diffusers import FluxPipeline

from coupled_core.config import GenerationConfig
from coupled_core.errors import ConfigError
from coupled_core.generation.pipeline import resolve_pipeline
from coupled_core.generation.provenance import resolve_generation
from infra.benchmarks.compilations import Compilations, count

pytestmark = pytest.mark.timeout(900)  # torch.compile takes a second a graph, many on busy cores


@pytest.fixture(scope="module")
def found() -> Compilations:
    """What batches of many sizes compile; each of a dozen graphs takes seconds."""
    return count(["region"], backend="aot_eager")


def test_groups_of_other_sizes_and_regions_compile_nothing_anew(found: Compilations) -> None:
    assert found.graph_breaks == 0
    # Of two kinds of block. Were blocks told apart by name, each of the six would have its own.
    assert 0 < found.warm_up <= 12
    assert found.after_warm_up == 0


def test_compiled_blocks_make_the_same_latents(found: Compilations) -> None:
    assert found.largest_difference < 1e-5


@pytest.mark.parametrize("offload", ["auto", "disk", "group", "sequential"])
def test_weights_that_come_and_go_are_not_compiled(offload: str) -> None:
    config = GenerationConfig.model_validate({"compile": True, "offload": offload})
    with pytest.raises(ConfigError, match=rf"compile.*offload={offload}"):
        resolve_generation(config)


def test_a_pipeline_of_the_callers_is_not_compiled(pipeline: FluxPipeline) -> None:
    with pytest.raises(ConfigError, match=r"compile.*this one"):
        resolve_pipeline(GenerationConfig(compile=True), pipeline)
