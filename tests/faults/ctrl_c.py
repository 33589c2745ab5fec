"""Ctrl-C in each stage of a real `coupled build` with a Prefect server of its own, timed.

    python -m tests.faults.ctrl_c [--only splits commits ...]

Prints how long each command lives on, the CPU that it and its server use meanwhile, its exit code,
and what it leaves behind; on a machine that does nothing else it should be a few seconds, 130 and
nothing.
"""

import argparse
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.coupled_command import Coupled, build_arguments, write_prompts
from tests.messages_server.process import RunningServer

_LONG_SECONDS = 600
_MAX_START_SECONDS = 280
_Moment = Callable[[Path, RunningServer], bool]


def _finds(pattern: str) -> _Moment:
    return lambda folder, _server: next(folder.glob(pattern), None) is not None


def _logs(words: str) -> _Moment:
    return lambda folder, _server: words in (folder / "log").read_text()


def _asks(kind: str) -> _Moment:
    return lambda _folder, server: server.counters()["requests"].get(kind, 0) > 0


def _imports(folder: Path, _server: RunningServer) -> bool:
    maps = [Path(f"/proc/{each}/maps").read_text() for each in _processes_with(folder)]
    return any("pydantic" in each for each in maps)


MOMENTS: dict[str, tuple[_Moment, tuple[str, ...]]] = {
    "Python imports": (_imports, ()),
    "Prefect's server starts": (_finds("tmp/coupled-prefect-*"), ()),
    "plans": (_finds("pairs/work/*/plan*"), ()),
    "splits, a slow answer": (_asks("messages"), ("--splitter", "anthropic", "--no-cap")),
    "splits, a slow batch": (
        _asks("batch_retrieve"),
        ("--splitter", "anthropic", "--no-cap", "--split-transport", "batch"),
    ),
    "generates": (_logs("generate: "), ()),
    "scores": (_logs("score: "), ()),
    "commits": (_finds("pairs/manifest/part-*"), ()),
    "draws the report": (_finds("pairs/current.json"), ()),
}
"""What is awaited before the signal, and the options of the build."""


def main() -> None:
    """Interrupt at the moments that were named, or at all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="first words of moments")
    begins = tuple(parser.parse_args().only or [""])
    print(f"{'while it':<26}{'seconds':>8}{'of CPU':>8}{'code':>6}  left behind", flush=True)
    for name in (name for name in MOMENTS if name.startswith(begins)):
        print(f"{name:<26}{_interrupt(name)}", flush=True)


def _interrupt(name: str) -> str:
    has_come, options = MOMENTS[name]
    with tempfile.TemporaryDirectory() as place, _slow_model() as server:
        folder = Path(place)
        (folder / "tmp").mkdir()
        write_prompts(folder / "prompts.parquet")
        environment = {**server.environment, "TMPDIR": str(folder / "tmp")}
        used = _used_by_children()
        process = Coupled(folder, environment).start(*build_arguments(*options))
        _wait(lambda: has_come(folder, server), process)
        used += sum(map(_used_by, _processes_with(folder)))
        started_at = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=_LONG_SECONDS)
        seconds, cpu = time.monotonic() - started_at, _used_by_children() - used
        # PyTorch keeps a cache there, which is one a user and not ours.
        left = [
            path.name for path in (folder / "tmp").iterdir() if "torchinductor" not in path.name
        ]
        left += [f"process {each}" for each in _processes_with(folder)]
    return f"{seconds:>8.1f}{cpu:>8.1f}{process.returncode:>6}  {', '.join(left) or '-'}"


@contextmanager
def _slow_model() -> Iterator[RunningServer]:
    server = RunningServer(answer_seconds=_LONG_SECONDS, batch_seconds=_LONG_SECONDS)
    try:
        yield server
    finally:
        server.stop()


def _wait(has_come: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + _MAX_START_SECONDS
    while not has_come():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"the moment did not come; exit code {process.returncode}")
        time.sleep(0.02)


def _used_by_children() -> float:
    """Return the CPU seconds of our children that have ended, and of theirs."""
    times = os.times()
    return times.children_user + times.children_system


def _used_by(process_id: str) -> float:
    """Return the CPU seconds of a process that lives."""
    used = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


def _processes_with(folder: Path) -> list[str]:
    """Return the processes whose environment names a folder: our command's, and its children."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(folder).encode() in environment.read_bytes():
                found.append(environment.parent.name)
        except OSError:  # it has just ended, or is somebody else's
            continue
    return found


if __name__ == "__main__":
    main()
