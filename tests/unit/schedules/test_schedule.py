import math
import subprocess
import sys

import pytest
import torch

from coupled_core.errors import ScheduleError
from coupled_core.schedules.schedule import Parameters, Schedule, isotonic, sine

PARAMETERS: dict[str, Parameters] = {
    "step": {"center": 0.3},
    "arctan": {"center": 0.3, "slope": 20.0},
    "sine": {"center": 0.3, "width": 0.2},
    "isotonic": {"times": (0.1, 0.3, 0.5), "values": (0.0, 0.25, 1.0)},
}


def build(name: str, **changes: object) -> Schedule:
    fields: dict[str, object] = {
        "family": name,
        "parameters": PARAMETERS[name],
        "mode": "log_bias",
        "base_model": "miniature",
        "base_model_revision": None,
        "optimised": False,
        "note": "for a test",
    }
    return Schedule(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("family", PARAMETERS)
def test_beta_never_falls_as_the_noise_goes_and_stays_within_0_and_1(family: str) -> None:
    beta = build(family).beta(torch.linspace(1, 0, 1001))
    assert beta.dtype == torch.float64
    assert (beta.diff() >= 0).all()
    assert beta.min() >= 0
    assert beta.max() <= 1


@pytest.mark.parametrize("family", ["step", "sine", "isotonic"])
def test_families_with_ends_reach_0_and_1_exactly(family: str) -> None:
    beta = build(family).beta(torch.tensor([1.0, 0.95, 0.4, 0.0]))
    assert beta.tolist() == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("family", PARAMETERS)
def test_numpy_gets_the_values_of_torch(family: str) -> None:
    sigmas = torch.linspace(0, 1, 57, dtype=torch.float64)
    of_numpy = build(family).beta(sigmas.numpy())
    torch.testing.assert_close(torch.from_numpy(of_numpy), build(family).beta(sigmas))


def test_numpy_needs_no_torch() -> None:
    program = (
        "import sys, numpy; from coupled_core.schedules.schedule_file import load_shipped_schedule;"
        "print(load_shipped_schedule('miniature', 'log_bias').beta(numpy.linspace(0, 1, 3)));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_arctan_reaches_neither_end() -> None:
    beta = build("arctan").beta(torch.tensor([1.0, 0.0]))
    assert 0 < beta[0] < beta[1] < 1


@pytest.mark.parametrize(
    ("family", "t", "expected"),
    [
        ("step", 0.2999, 0.0),
        ("step", 0.3, 1.0),
        ("arctan", 0.35, 0.5 + math.atan(20 * 0.05) / math.pi),
        ("sine", 0.25, 0.5 * (1 + math.sin(math.pi * -0.05 / 0.2))),
        ("isotonic", 0.2, 0.125),
        ("isotonic", 0.4, 0.625),
    ],
)
def test_beta_follows_the_formula_of_its_family(family: str, t: float, expected: float) -> None:
    sigma = torch.tensor(1.0, dtype=torch.float64) - t
    assert float(build(family).beta(sigma)) == pytest.approx(expected, abs=1e-12)


def test_formulas_are_differentiable_in_their_parameters() -> None:
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    center = torch.tensor(0.31, dtype=torch.float64, requires_grad=True)
    values = torch.tensor([0.1, 0.4, 0.8], dtype=torch.float64, requires_grad=True)
    (of_center,) = torch.autograd.grad(sine(t, center=center, width=0.5).sum(), center)
    (of_values,) = torch.autograd.grad(
        isotonic(t, times=(0.0, 0.5, 1.0), values=values).sum(), values
    )
    assert of_center < 0
    assert (of_values > 0).all()


@pytest.mark.parametrize(
    ("family", "parameters", "message"),
    [
        ("cosine", {"center": 0.3}, "unknown family 'cosine'; expected one of step"),
        (
            "sine",
            {"center": 0.3},
            r"expects the parameters \['center', 'width'\]; got \['center'\]",
        ),
        ("sine", {"center": 0.3, "width": -0.2}, "width must be above 0.*got -0.2"),
        ("step", {"center": math.nan}, "center expects a finite number; got nan"),
        ("isotonic", {"times": (0.1,), "values": (0.5,)}, "at least 2 times"),
        ("isotonic", {"times": (0.3, 0.1), "values": (0.0, 1.0)}, "times must increase"),
        ("isotonic", {"times": (0.1, 0.3), "values": (0.6, 0.5)}, "values must not decrease"),
        ("isotonic", {"times": (0.1, 0.3), "values": (0.0, 1.1)}, r"values must lie in \[0, 1\]"),
    ],
)
def test_parameters_that_give_no_schedule_are_refused(
    family: str, parameters: dict[str, object], message: str
) -> None:
    with pytest.raises(ScheduleError, match=message):
        build("step", family=family, parameters=parameters)


def test_the_id_changes_with_the_content_and_with_nothing_else() -> None:
    assert build("sine").id == build("sine").id
    assert build("sine").id != build("sine", mode="key_scale").id
    assert build("sine").id != build("sine", optimised=True).id
