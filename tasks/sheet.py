"""The sheet task: a picture that shows what a run made."""

from prefect import get_run_logger

from coupled_core.config import RunConfig
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.planning import RunPlan
from coupled_core.run_sheet import draw_run_sheet
from coupled_core.storage.store import open_store
from tasks.models import generation_of
from tasks.policy import stage_task
from tasks.shards import work_of


@stage_task("sheet", retries=2)
def draw_sheet(config: RunConfig, plan: RunPlan, snapshot: Snapshot) -> None:
    """Draw kept and dropped pairs of a run and store the picture beside its snapshot."""
    finished = {part.shard_index for part in snapshot.parts if part.run_id == plan.run_id}
    works = [work_of(config, shard) for shard in plan.shards if shard.shard_index in finished]
    key = f"reports/{snapshot.snapshot_id}/contact-sheet.png"
    data = draw_run_sheet(config, works, snapshot, generation_of(config.generation))
    open_store(config.output.uri).write(key, data)
    get_run_logger().info("contact sheet %s", key)
