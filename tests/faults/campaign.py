"""Disturb every operation at every step, and print what came of it.

    python -m tests.faults.campaign [--only kill-disk network ...] [--rounds 100] [--server seaweed]
                                    [--part 2/4] [--seconds 500]

Steps are enumerated, not sampled: on S3 every request, before and after the server executes it; on
disk every change that the interpreter announces. Network faults of every kind meet every request
that changes something; requests that only read get the kinds in turn.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import Any

from tests.faults.collections_beside import collect_beside
from tests.faults.disturbances import (
    Reader,
    Tally,
    disturb_on_s3,
    end_after,
    in_time,
    kill_on_disk,
    kill_on_s3,
    open_undisturbed,
    reader,
)
from tests.faults.full_disk import can_mount, run_in_namespace
from tests.faults.killed_builds import kill_batches, kill_batches_at_each_step, kill_builds
from tests.faults.operations import (
    LARGE_COMMIT,
    OPERATIONS,
    Operation,
    Template,
    make_template,
)
from tests.faults.proxy import KILLS, NETWORK, REFUSALS, Fault, Request, fail_from, fault_at
from tests.faults.races import race
from tests.faults.servers import SERVERS, DisturbedS3, disturbed_s3
from tests.faults.stored_damage import damage_parts, point_nowhere
from tests.forks import preload

_PRELOADED = [f"tests.faults.{name}" for name in ("killed_builds", "races", "stored_damage")]
ALL_STEPS = slice(None)
_READS = ("GET", "HEAD")
_FLIPS = {"disk": 64, "s3": 16}
"""Bits flipped in each part; elsewhere than on disk a read takes longer."""


def list_requests(template: Template, s3: DisturbedS3) -> list[Request]:
    """Return the requests of an undisturbed operation."""
    uri = s3.new_uri()
    disturbed = s3.open_disturbed(uri)
    template.copy_to(open_undisturbed(uri))
    template.operation.act(disturbed)
    return list(s3.proxy.requests)


def network_faults(
    template: Template,
    s3: DisturbedS3,
    watcher: Reader,
    choose: Callable[[Request], list[Fault]],
    steps: slice = ALL_STEPS,
) -> Tally:
    """Meet each request of an operation with each of the faults that `choose` names for it."""
    tally = Tally()
    for request in list_requests(template, s3)[steps]:
        for fault in in_time(choose(request)):
            uri = s3.new_uri()
            template.copy_to(open_undisturbed(uri))
            store = s3.open_disturbed(uri)
            s3.proxy.reset(fault_at(request.index, fault))
            what = f"{template.operation.name}, {request.method} {request.index}: {fault}"
            tally += disturb_on_s3(template, uri, store, watcher, what)
    return tally


def all_kinds(request: Request) -> list[Fault]:
    """Choose every kind for what changes something, one kind in turn for what reads."""
    return [NETWORK[request.index % len(NETWORK)]] if request.method in _READS else list(NETWORK)


def outages(
    template: Template,
    s3: DisturbedS3,
    watcher: Reader,
    steps: slice = ALL_STEPS,
    fault: Fault = Fault.INTERNAL_ERROR,
) -> Tally:
    """Let the server fail for good from each request on; the operation must give up, and heal."""
    tally = Tally()
    for request in in_time(list_requests(template, s3)[steps]):
        uri = s3.new_uri()
        template.copy_to(open_undisturbed(uri))
        store = s3.open_disturbed(uri)
        s3.proxy.reset(fail_from(request.index, fault))
        what = f"{template.operation.name}, from request {request.index}: {fault}"
        tally += disturb_on_s3(template, uri, store, watcher, what)
    return tally


def kills_on_s3(
    template: Template,
    s3: DisturbedS3,
    watcher: Reader,
    is_chosen: Callable[[Request], bool],
    steps: slice = ALL_STEPS,
) -> Tally:
    """Kill a process before and after each request of an operation."""
    tally = Tally()
    for request in list_requests(template, s3)[steps]:
        for fault in in_time(KILLS if is_chosen(request) else ()):
            uri = s3.new_uri()
            template.copy_to(open_undisturbed(uri))
            s3.proxy.reset(fault_at(request.index, fault))
            found, was_killed = kill_on_s3(template, uri, s3.through_proxy, s3.proxy, watcher)
            tally += found
            if not was_killed:
                tally.problems.append(f"{template.operation.name}: no request {request.index}")
    return tally


def kills_on_disk(template: Template, watcher: Reader, steps: slice = ALL_STEPS) -> Tally:
    """Kill a process before each change that an operation makes to a disk."""
    tally = Tally()
    for step in in_time(count(steps.start or 0, steps.step or 1)):
        found, was_killed = kill_on_disk(template, step, watcher)
        tally += found
        if not was_killed:
            break
    return tally


def template_of(operation: Operation) -> Template:
    """Prepare an operation."""
    with tempfile.TemporaryDirectory() as folder:
        return make_template(operation, Path(folder))


_Section = Callable[[Any, Reader], Tally]
"""From the server (None on disk) and a reader to what came of it."""


def _by_operation(name: str, run: Callable[[Template, Any, Reader], Tally]) -> dict[str, _Section]:
    def section(operation: Operation) -> _Section:
        return lambda s3, watcher: run(template_of(operation), s3, watcher)

    return {f"{name} {operation.name}": section(operation) for operation in OPERATIONS}


def _in_folder(run: Callable[[Callable[[], str]], Tally]) -> Callable[[Any, Reader], Tally]:
    """Give a section names of datasets in a folder that goes away afterwards."""

    def section(_s3: None, _watcher: Reader) -> Tally:
        with tempfile.TemporaryDirectory() as folder:
            names = (f"{folder}/{number}" for number in count())
            return run(lambda: next(names))

    return section


def _sections_on_disk(rounds: int, steps: slice) -> dict[str, _Section]:
    def damage_on_disk(_s3: None, watcher: Reader) -> Tally:
        with tempfile.TemporaryDirectory() as folder:
            return _damage(f"{folder}/parts", f"{folder}/rows", watcher, _FLIPS["disk"])

    return {
        **_by_operation("kill-disk", lambda template, s3, w: kills_on_disk(template, w, steps)),
        "damage-disk": damage_on_disk,
        "race-disk": _in_folder(lambda new_uri: race(new_uri, {}, rounds)[0]),
        "gc-beside-disk": _in_folder(lambda new_uri: collect_beside(new_uri, {}, rounds)),
        "disk-full": lambda s3, w: run_in_namespace() if can_mount() else Tally(),
        "builds-disk": _in_folder(lambda new_uri: kill_builds(new_uri, {}, rounds)),
        "batches at random": lambda s3, w: kill_batches(rounds),
        "batches by step": lambda s3, w: kill_batches_at_each_step(steps),
    }


def _damage(parts_uri: str, rows_uri: str, watcher: Reader, num_flips: int) -> Tally:
    """Damage stored parts of one dataset, and rows of another."""
    parts = damage_parts(open_undisturbed(parts_uri), watcher, num_flips)
    return parts + point_nowhere(open_undisturbed(rows_uri), watcher)


def _sections_on_s3(rounds: int, steps: slice) -> dict[str, _Section]:
    return {
        "damage-s3": lambda s3, w: _damage(s3.new_uri(), s3.new_uri(), w, _FLIPS["s3"]),
        **_by_operation("kill-s3", lambda t, s3, w: kills_on_s3(t, s3, w, lambda r: True, steps)),
        **_by_operation("network", lambda t, s3, w: network_faults(t, s3, w, all_kinds, steps)),
        **_by_operation("outage", lambda t, s3, w: outages(t, s3, w, steps)),
        **{
            name: section
            for fault in REFUSALS
            for name, section in _by_operation(fault.name.lower(), _refusals(fault, steps)).items()
        },
        "gc-beside-s3": lambda s3, w: collect_beside(s3.new_uri, s3.direct, rounds),
        "builds-s3": lambda s3, w: kill_builds(s3.new_uri, s3.direct, rounds),
        **_pieces_on_s3(steps),
        "race-s3": lambda s3, w: race(s3.new_uri, s3.direct, rounds)[0],
    }


def _refusals(fault: Fault, steps: slice) -> Callable[[Template, Any, Reader], Tally]:
    every_second = slice(2 * (steps.start or 0), None, 2 * (steps.step or 1))
    return lambda template, s3, w: outages(template, s3, w, every_second, fault)


def _pieces_on_s3(steps: slice) -> dict[str, _Section]:
    """Disturb the upload of a part in pieces; the rest of that commit is like any other."""

    def is_piece(request: Request) -> bool:
        return "upload" in request.path.partition("?")[2]

    def faults(request: Request) -> list[Fault]:
        return list(NETWORK) if is_piece(request) else []

    def template() -> Template:
        return template_of(LARGE_COMMIT)

    return {
        "pieces kill-s3": lambda s3, w: kills_on_s3(template(), s3, w, is_piece, steps),
        "pieces network": lambda s3, w: network_faults(template(), s3, w, faults, steps),
    }


def _choose(sections: dict[str, _Section], only: list[str] | None) -> dict[str, _Section]:
    begins = tuple(only or [""])
    return {name: section for name, section in sections.items() if name.startswith(begins)}


def _print_lines(results: Iterator[tuple[str, Tally, float]]) -> bool:
    columns = ("injections", "survived", "refused", "killed", "rows_lost", "rows_doubled")
    columns = (*columns, "half_states", "damaged", "leaked", "unnamed", "reads", "collections")
    titles = "".join(f"{name.removeprefix('rows_'):>12}" for name in columns)
    print(f"{'':<24}{titles}{'seconds':>9}", flush=True)
    total = Tally()
    for name, tally, seconds in results:
        values = "".join(f"{getattr(tally, column):>12,}" for column in columns)
        print(f"{name:<24}{values}{seconds:>9.0f}", flush=True)
        for problem in tally.problems[:20]:
            print(f"    {problem}", flush=True)
        total += tally
    print(f"{'in all':<24}" + "".join(f"{getattr(total, column):>12,}" for column in columns))
    return total.is_clean


def read_part(text: str) -> tuple[int, int]:
    """Return 2 and 4 for 2/4.

    Raises:
        argparse.ArgumentTypeError: it is no part of that many; 0/4 would be no step at all.
    """
    part, separator, num_parts = text.partition("/")
    if not (separator and part.isdecimal() and num_parts.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a part such as 2/4, got {text!r}")
    if not 1 <= int(part) <= int(num_parts):
        raise argparse.ArgumentTypeError(f"expected a part from 1/{num_parts} on, got {text!r}")
    return int(part), int(num_parts)


def main() -> None:
    """Run the sections that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="kill-disk kill-s3 network outage race-disk ...")
    parser.add_argument("--rounds", type=int, default=100, help="of each race; killed builds")
    parser.add_argument("--server", choices=sorted(SERVERS), default="moto", help="for S3")
    parser.add_argument(
        "--part", type=read_part, default="1/1", help="2/4: the second of four parts of all steps"
    )
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin nothing after that")
    options = parser.parse_args()
    end_after(options.seconds)
    part, num_parts = options.part
    steps = slice(part - 1, None, num_parts)
    builds = any(name.startswith("builds") for name in options.only or ["builds"])
    preload(*_PRELOADED, with_models=builds)  # smaller processes fork sooner

    def run() -> Iterator[tuple[str, Tally, float]]:
        for sections, server in (
            (_sections_on_disk(options.rounds, steps), nullcontext()),
            (_sections_on_s3(options.rounds, steps), disturbed_s3(options.server)),
        ):
            wanted = _choose(sections, options.only)
            if not wanted:
                continue
            with server as s3, reader(s3.direct if s3 else {}) as watcher:
                for name, section in wanted.items():
                    started_at = time.monotonic()
                    yield name, section(s3, watcher), time.monotonic() - started_at

    raise SystemExit(0 if _print_lines(run()) else 1)


if __name__ == "__main__":
    main()
