"""Start the loopback server as a process of its own, ask it what it saw, end it."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from tests.messages_server.settings import API_KEY

_ROOT = Path(__file__).parents[2]


class RunningServer:
    """A server process that belongs to one test."""

    def __init__(self, **settings: Any) -> None:
        command = [sys.executable, "-m", "tests.messages_server"]
        self._process = subprocess.Popen(
            command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        first_line = self._process.stdout.readline()
        if not first_line:
            assert self._process.stderr is not None
            raise RuntimeError(f"the server did not start: {self._process.stderr.read()[-2000:]}")
        self.base_url = first_line.strip().rpartition("=")[2]
        self.set(**settings)

    @property
    def environment(self) -> dict[str, str]:
        """What makes the real SDK talk to this server."""
        return {"ANTHROPIC_BASE_URL": self.base_url, "ANTHROPIC_API_KEY": API_KEY}

    def set(self, **settings: Any) -> None:
        """Change fields of `Settings` from now on."""
        self._ask("_settings", settings)

    def reset(self) -> None:
        """Forget batches, counters and shown faults."""
        self._ask("_reset", {})

    def counters(self) -> dict[str, Any]:
        """Return the totals."""
        return self._ask("_counters")

    def paid(self) -> dict[str, dict[str, int]]:
        """Return how often each set of prompts (by hash) and each custom_id was paid for."""
        return self._ask("_paid")

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.base_url}/{path}", data=data, timeout=30) as response:
            return json.load(response)
