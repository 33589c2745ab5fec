"""Runs `coupled` in a process of its own without the half minute that its imports take.

It is a fork of a process that has imported them. What runs in it is the whole program: arguments,
environment, working directory, exit code.
"""

import atexit
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.forks import FORKS


def run_warm(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    output: Path,
    errors: Path,
    timeout_seconds: float,
    before: Callable[[], None] | None = None,
) -> int:
    """Run a command to its end; return its exit code.

    Args:
        arguments: After the name of the program.
        folder: The working directory.
        environment: All of it.
        output: Takes the standard output.
        errors: Takes the standard error.
        timeout_seconds: Then it is killed.
        before: Called in the process first, of a module's top level; None: nothing is.

    Raises:
        TimeoutError: it was killed.
    """
    process = start_warm(arguments, folder, environment, output, errors, before)
    try:
        process.join(timeout_seconds)
        code = process.exitcode
    finally:
        process.kill()
    if code is None:
        raise TimeoutError(f"coupled {' '.join(arguments)} took longer than {timeout_seconds} s")
    return code


def start_warm(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    output: Path,
    errors: Path,
    before: Callable[[], None] | None = None,
) -> BaseProcess:
    """Start a command and return at once; see `run_warm`."""
    where = (str(folder), str(output), str(errors))
    process = FORKS.Process(target=_run, args=(list(arguments), dict(environment), where, before))
    process.start()
    return process


def _run(
    arguments: list[str],
    environment: dict[str, str],
    where: tuple[str, str, str],
    before: Callable[[], None] | None,
) -> None:
    folder, output, errors = where
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, output), (2, errors)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.argv = ["coupled", *arguments]
    sys.meta_path.insert(0, _PrefectLater())
    from flows.cli.main import main

    if before is not None:
        before()
    try:
        main()
    finally:
        atexit._run_exitfuncs()  # where Prefect sends what it still has; forks do not call them
        sys.stdout.flush()


class _PrefectLater(MetaPathFinder, Loader):
    """Puts Prefect, imported already, aside; brings it back when the command imports it.

    It reads its settings then, as it would on disk: the command sets some of them before.
    """

    def __init__(self) -> None:
        ours = [name for name in sys.modules if name.partition(".")[0] == "prefect"]
        self._modules = {name: sys.modules.pop(name) for name in ours}
        self._spec = self._modules["prefect"].__spec__ if ours else None

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        is_first = name == "prefect" and self._modules
        return ModuleSpec(name, self, is_package=True) if is_first else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        sys.modules.update(self._modules)
        self._modules, module.__spec__ = {}, self._spec
        sys.modules["prefect.context"].refresh_global_settings_context()
