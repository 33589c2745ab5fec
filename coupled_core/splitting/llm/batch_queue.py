"""Batches between creation and harvest, ours and those of others that answer our questions."""

import logging
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING

from coupled_core.config import ModelPrice, SplitConfig
from coupled_core.errors import LlmBudgetError, LlmError
from coupled_core.progress import current_progress
from coupled_core.splitting.llm.answers import AnswerCache, StoredAnswer
from coupled_core.splitting.llm.batch_creation import BatchCreator, Patience, look_up_batch
from coupled_core.splitting.llm.batch_record import BatchRecord, BatchRecords, OpenBatches
from coupled_core.splitting.llm.harvest import Harvester
from coupled_core.splitting.llm.pace import Pace
from coupled_core.splitting.llm.request import LlmRequest
from coupled_core.splitting.llm.spending import Ledger, max_cost_usd
from coupled_core.splitting.llm.threads import map_in_threads
from coupled_core.storage.store import ObjectStore

if TYPE_CHECKING:
    from anthropic import Anthropic

_MAX_OPEN = 20
"""Batches at a time; more would fill memory and not speed up the API."""
_MISSING_FOR = timedelta(minutes=10)
"""How long after its creation the API may not know a batch yet."""
_POLL_GROWTH = 1.5
_READ_THREADS = 16
_logger = logging.getLogger(__name__)


class BatchQueue:
    """Creates, follows and harvests batches. One thread uses it."""

    has_worked = False
    """The API has answered something: a row that it does not take is to blame itself."""
    num_answers = 0
    """So many have come in."""

    def __init__(
        self,
        config: SplitConfig,
        client: "Anthropic",
        store: ObjectStore,
        *,
        account: str,
        price: ModelPrice,
        patience: Patience | None = None,
    ) -> None:
        self._config, self._client, self._store = config, client, store
        self._account, self._price = account, price
        self._patience, self._pace = patience or Patience(), Pace(None)
        self._records, self._ledger = BatchRecords(store), Ledger(store, account)
        self._creator = BatchCreator(client, self._pace, self._is_known, self._patience)
        self._harvester = Harvester(client, self._pace, store, price)
        self._cache = AnswerCache(store, account, is_refresh=config.refresh)
        self._open = OpenBatches(self._records)
        self._open.look()
        self._wanted = {batch.key for batch in self._open if batch.account == account}

    @property
    def num_wanted(self) -> int:
        """How many open batches hold something that we asked, or need."""
        return len(self._wanted)

    def is_asked(self, request: LlmRequest) -> bool:
        """Say whether an open batch holds a request; from then on that batch is waited for."""
        key = self._open.asking(request)
        if key is not None:
            self._wanted.add(key)
        return key is not None

    def submit(self, requests: Sequence[LlmRequest]) -> None:
        """See to it that requests are asked: in a batch of ours, unless others ask them already.

        Raises:
            LlmBudgetError: not all fit under the cap; those that do are asked first.
            LlmError: the API refuses it.
        """
        self.drain(down_to=_MAX_OPEN - 1)
        record, requests = self._claim(requests)
        if record is None:
            return
        costs = [max_cost_usd(self._price, request, is_batch=True) for request in requests]
        try:
            self._ledger.hold(record.purchase, math.fsum(costs), self._config.max_llm_usd)
        except LlmBudgetError:
            self._forget_unmade(record)
            if num_fitting := self._count_fitting(costs):
                self.submit(requests[:num_fitting])
            raise
        self._create(record, requests)

    def drain(self, down_to: int = 0) -> None:
        """Wait until at most so many batches are open.

        Raises:
            LlmError: the API refuses us, or has lost a batch.
        """
        seconds = self._patience.first_poll_seconds
        while len(self._wanted) > down_to:
            ended = [key for key in sorted(self._wanted) if self._has_ended(key)]
            for key in ended:
                self._harvest(key)
            if ended:
                seconds = self._patience.first_poll_seconds
            elif len(self._wanted) > down_to:
                self._pace.sleep(seconds)
                seconds = min(seconds * _POLL_GROWTH, self._patience.max_poll_seconds)
            current_progress().advance("split", 0)  # lets Ctrl-C through

    def _claim(
        self, requests: Sequence[LlmRequest]
    ) -> tuple[BatchRecord | None, Sequence[LlmRequest]]:
        """Announce a batch of the requests that nobody else asks and nobody has answered."""
        while True:
            self._open.look()
            left = [request for request in requests if not self.is_asked(request)]
            if not left:
                return None, left
            record = BatchRecord.of_requests(
                self._account, self._config.model, left, is_refresh=self._config.refresh
            )
            if self._open.claim(
                record,
                patience_seconds=self._patience.twin_seconds,
                poll_seconds=self._patience.first_poll_seconds,
            ):
                return self._leave_out_answered(record, left)

    def _leave_out_answered(
        self, record: BatchRecord, requests: Sequence[LlmRequest]
    ) -> tuple[BatchRecord | None, Sequence[LlmRequest]]:
        """Look once more, now that nobody else can ask: a twin may just have harvested."""
        answers = map_in_threads(self._read_answer, requests, _READ_THREADS)
        left = [r for r, answer in zip(requests, answers, strict=True) if answer is None]
        self.num_answers += len(requests) - len(left)
        if not left:
            self._forget_unmade(record)
            return None, left
        if len(left) < len(requests):
            record = record.narrowed_to(left)
            self._records.announce(record)
            self._open.remember(record)
        return record, left

    def _read_answer(self, request: LlmRequest) -> StoredAnswer | None:
        return self._cache.read(request.request_sha256, request.attempt)

    def _create(self, record: BatchRecord, requests: Sequence[LlmRequest]) -> None:
        try:
            batch_id = self._creator.create(record, requests)
        except LlmError:
            self._withdraw(record)
            raise
        self._open.remember(self._records.name(record, batch_id))
        self._wanted.add(record.key)
        _logger.info("batch %s: %d requests", batch_id, len(requests))

    def _count_fitting(self, costs: Sequence[float]) -> int:
        cap_usd = self._config.max_llm_usd
        room = math.inf if cap_usd is None else cap_usd - self._ledger.total()
        return sum(total <= room for total in accumulate(costs))

    def _has_ended(self, key: str) -> bool:
        """Say whether a batch can be harvested, after finding out its name if need be."""
        if key not in self._open:  # a twin has harvested it
            return True
        if self._open[key].batch_id is None and not self._resolve(key):
            return False
        batch = self._open[key]
        batch_id = batch.batch_id
        assert batch_id is not None, "resolved above"
        found = look_up_batch(self._client, self._pace, batch_id)
        if found is not None:
            if found.processing_status == "ended" and found.results_url is None:
                raise LlmError(
                    f"the API has put the results of batch {batch_id} away: delete "
                    f"{self._store.uri}/{key} to have its requests made, and paid for, again"
                )
            return found.processing_status == "ended"
        if datetime.now(UTC) - batch.written_at > _MISSING_FOR:
            raise LlmError(
                f"the API does not know batch {batch_id}: use the key that created it, or delete "
                f"{self._store.uri}/{key} to have its requests made, and paid for, again"
            )
        return False

    def _resolve(self, key: str) -> bool:
        """Find the name of a batch that a killed process, or a slow twin, has announced."""
        record = self._open.read_again(key)
        if record is None:  # its process withdrew it
            self._wanted.discard(key)
            return False
        if record.batch_id is None and self._open[key].age_seconds < self._patience.twin_seconds:
            return False  # its process may live and be about to name it
        batch_id = record.batch_id or self._creator.find(record)
        if batch_id is None:
            self._withdraw(record)
            return False
        self._open.remember(self._records.name(record, batch_id))
        return True

    def _harvest(self, key: str) -> None:
        record = self._records.read(key)
        self._forget(key)
        if record is None:  # a twin has harvested it
            self.num_answers += 1
            return
        ends = self._harvester.harvest(record, trusts_api=self.has_worked)
        self.has_worked = True
        _logger.info("batch %s: %s", record.batch_id, dict(ends))
        self.num_answers += ends["succeeded"] + ends["invalid"]

    def _withdraw(self, record: BatchRecord) -> None:
        self._forget_unmade(record)
        Ledger(self._store, record.account).settle(record.purchase, 0.0)

    def _forget_unmade(self, record: BatchRecord) -> None:
        self._records.withdraw(record)
        self._forget(record.key)

    def _forget(self, key: str) -> None:
        self._open.forget(key)
        self._wanted.discard(key)

    def _is_known(self, batch_id: str) -> bool:
        is_open = any(batch.batch_id == batch_id for batch in self._open)
        return is_open or self._records.is_finished(batch_id)
