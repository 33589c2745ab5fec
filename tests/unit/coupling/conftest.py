import pytest
from diffusers import FluxTransformer2DModel

from tests.unit.coupling.small_flux import Inputs, build_inputs, build_transformer


@pytest.fixture
def transformer() -> FluxTransformer2DModel:
    return build_transformer()


@pytest.fixture
def inputs() -> Inputs:
    return build_inputs()
