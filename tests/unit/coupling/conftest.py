import pytest

from coupled_core.generation.families.family import Family
from tests.unit.coupling.small_flux import FAMILIES, Inputs, build_family, build_inputs


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return build_family(request.param)


@pytest.fixture
def inputs() -> Inputs:
    return build_inputs()
