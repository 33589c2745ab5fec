"""A lack of memory is recognised, and half as much is tried."""

import pytest
import torch

from coupled_core.models.memory import Room, is_out_of_memory


class _Machine:
    """Doubles numbers, at most so many at a time."""

    def __init__(self, most: int) -> None:
        self.most, self.asked = most, list[int]()

    def double(self, items: list[int]) -> list[int]:
        self.asked.append(len(items))
        if len(items) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return [2 * item for item in items]


@pytest.mark.parametrize("most", [1, 2, 3, 7, 8])
def test_half_as_many_are_tried_until_they_fit_and_all_results_come_in_order(most: int) -> None:
    machine, room = _Machine(most), Room()
    assert list(room.map(machine.double, list(range(7)))) == [0, 2, 4, 6, 8, 10, 12]


def test_what_fits_is_remembered_for_things_of_its_kind_alone() -> None:
    machine, room = _Machine(2), Room()
    room.map(machine.double, list(range(8)), "large")
    machine.asked.clear()
    room.map(machine.double, list(range(8)), "large")
    assert machine.asked == [2, 2, 2, 2]
    room.map(machine.double, list(range(4)), "small")
    assert machine.asked[4] == 4


def test_where_one_alone_does_not_fit_the_error_goes_on() -> None:
    machine = _Machine(0)
    with pytest.raises(torch.OutOfMemoryError):
        Room().map(machine.double, [1, 2, 3, 4])
    assert machine.asked == [4, 2, 1]


def test_where_one_alone_does_not_fit_room_is_made_and_sizes_are_learnt_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine, ways = _Machine(0), iter(["--offload model", "--offload sequential"])

    def free_more() -> str | None:
        way = next(ways, None)
        machine.most = 2 if way == "--offload sequential" else machine.most
        return way

    room = Room(free_more)
    assert room.map(machine.double, [1, 2, 3, 4]) == [2, 4, 6, 8]
    assert machine.asked == [4, 2, 1, 4, 2, 1, 4, 2, 2]
    assert "from now on with --offload sequential" in caplog.text
    machine.most = 0
    with pytest.raises(torch.OutOfMemoryError):
        room.map(machine.double, [1])


def test_other_errors_are_not_tried_again() -> None:
    def fail(items: list[int]) -> list[int]:
        raise RuntimeError(f"{len(items)} shapes do not match")

    with pytest.raises(RuntimeError, match="4 shapes"):
        Room().map(fail, [1, 2, 3, 4])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate "
                      "memory: you tried to allocate 8589934592 bytes."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9.1 GB)"), True),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)  # fmt: skip
def test_what_libraries_say_when_memory_lacks_is_known(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected
