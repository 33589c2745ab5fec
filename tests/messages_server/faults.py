"""What goes wrong with a request: read from markers in its prompts, or drawn by hash.

A marker stands anywhere in a prompt: `[[429]]`, `[[slow=0.5]]`, `[[malformed x1]]`, `[[500 x3]]`.
`x2` means the first two requests for the same prompts; without it transient faults come once and
faulty answers always.
"""

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.messages_server.settings import Settings

HTTP_FAULTS = frozenset({"429", "529", "500", "reset", "lost", "slow"})
"""What can befall an online request: `reset` before the answer is made, `lost` after it is paid."""
ROW_FAULTS = frozenset({"error", "invalid", "expire", "cancel"})
"""What can happen to a row in a batch."""
ANSWER_FAULTS = frozenset(
    ["refuse", "truncate", "malformed", "count", "empty", "swap", "mixed", "obey", "leak"]
    + ["flag", "unsplittable", "alike"]
)
ALL_FAULTS = HTTP_FAULTS | ROW_FAULTS | ANSWER_FAULTS
_ALWAYS = ANSWER_FAULTS | {"slow", "invalid"}
_MARKER = re.compile(r"\s*\[\[(\w+)(?:=([\d.]+))?(?: x(\d+))?\]\]")


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    name: str
    amount: float = 0.0


def without_markers(prompt: str) -> str:
    """Return what the model sees of a prompt."""
    return _MARKER.sub("", prompt)


def prompts_key(prompts: Sequence[str]) -> str:
    """Return the hash by which requests for the same prompts are counted."""
    return hashlib.sha256("\x00".join(prompts).encode()).hexdigest()


class FaultScript:
    """Remembers how often each fault was shown for the same prompts."""

    def __init__(self) -> None:
        self._shown: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def next_faults(
        self, prompts: Sequence[str], settings: Settings, allowed: frozenset[str]
    ) -> dict[str, Fault]:
        """Return the faults of this request, by name, out of those that its kind can have."""
        key = prompts_key(prompts)
        with self._lock:
            marked = self._read_markers(key, prompts, allowed)
            drawn = {
                name: Fault(name)
                for name, share in settings.shares.items()
                if name in allowed and self._draw(key, name, share, settings.seed)
            }
        return drawn | marked

    def _read_markers(
        self, key: str, prompts: Sequence[str], allowed: frozenset[str]
    ) -> dict[str, Fault]:
        found = {}
        for name, amount, times in _MARKER.findall(" ".join(prompts)):
            if name not in ALL_FAULTS:
                raise ValueError(f"marker [[{name}]] is unknown, expected one of {ALL_FAULTS}")
            if name not in allowed:
                continue
            self._shown[key, name] += 1
            limit = int(times) if times else (None if name in _ALWAYS else 1)
            if limit is None or self._shown[key, name] <= limit:
                found[name] = Fault(name, float(amount or 0.0))
        return found

    def _draw(self, key: str, name: str, share: float, seed: int) -> bool:
        """Draw anew for each attempt, the same in each run."""
        self._shown[key, f"drawn {name}"] += 1
        attempt = self._shown[key, f"drawn {name}"]
        digest = hashlib.sha256(f"{seed}:{key}:{name}:{attempt}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < share
