"""Answers by request, shared between runs and workers: nothing is paid for twice."""

from itertools import islice

from coupled_core.errors import ConflictError, NotFoundError
from coupled_core.splitting.llm.answered import AnsweredRequests
from coupled_core.splitting.llm.stored_answer import StoredAnswer
from coupled_core.storage.store import ObjectStore

_ANSWERS, _SUFFIX = "answers/", ".json"


class AnswerCache:
    """One object an answer below `answers/`; the key is a hash, no text becomes part of it.

    What is there stays: of two writers the first wins and the second learns what it wrote.
    """

    def __init__(self, store: ObjectStore, account: str, *, is_refresh: bool = False) -> None:
        """Open a cache.

        Args:
            store: Where it lies.
            account: Who pays for what is added.
            is_refresh: See only what this account paid for, and replace what others did.
        """
        self._store, self._account, self._is_refresh = store, account, is_refresh

    def read(self, request_sha256: str, attempt: int) -> StoredAnswer | None:
        """Return an answer; None: nobody has paid for it yet, or it shall be asked for again."""
        answer = self._read_any(_key(request_sha256, attempt))
        if answer is None or answer.account == self._account:
            return answer
        # Somebody else's invalid request cost nothing and may be valid by now.
        return None if self._is_refresh or answer.error is not None else answer

    def add(self, answer: StoredAnswer) -> StoredAnswer:
        """Store an answer durably and return the one that counts: the first that was stored."""
        key = _key(answer.request_sha256, answer.attempt)
        try:
            self._store.write_if_absent(key, answer.to_bytes())
            return answer
        except ConflictError:
            there = self.read(answer.request_sha256, answer.attempt)
        if there is not None:
            return there
        self._store.write(key, answer.to_bytes())
        return answer

    def list_answered(self, max_objects: int) -> AnsweredRequests | None:
        """Return which questions have an answer of anybody's; None: there are too many to list."""
        infos = self._store.list(_ANSWERS)
        answered = AnsweredRequests(
            name.removesuffix(_SUFFIX)
            for info in islice(infos, max_objects)
            if "." not in (name := info.key.rpartition("/")[2]).removesuffix(_SUFFIX)
        )
        return answered if next(infos, None) is None else None

    def _read_any(self, key: str) -> StoredAnswer | None:
        try:
            data = self._store.read(key)
        except NotFoundError:
            return None
        return StoredAnswer.parse(data, f"{self._store.uri}/{key}")


def _key(request_sha256: str, attempt: int) -> str:
    repair = "" if attempt == 0 else ".repair"
    return f"{_ANSWERS}{request_sha256[:2]}/{request_sha256}{repair}{_SUFFIX}"
