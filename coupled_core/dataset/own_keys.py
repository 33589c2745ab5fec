"""Which keys of a dataset its writers can have made; whatever else lies beside them is not ours.

Indices have at least five digits, so that keys sort by them; from 100,000 on they have more.
"""

import re

from coupled_core.dataset.snapshot import INDEX_FOLDER, SNAPSHOT_FOLDER, SNAPSHOT_ID
from coupled_core.dataset.work import GENERATED, LEASES, SCORED, WORK_FOLDER

PART_FOLDERS = ("manifest/", "images/", "dropped/", INDEX_FOLDER)
REPORT_FOLDER = "reports/"
PROBE_PREFIX = f"{WORK_FOLDER}probe-"
# The first version of the work folder also kept a shard's input and its decisions.
_WORK = (
    rf"plan\.json|plan/\d{{5,}}\.parquet|\d{{5,}}/(split|done|failures|input|decisions)\.json|"
    rf"\d{{5,}}/({GENERATED}|{SCORED})/batch-\d{{5,}}\.parquet|"
    rf"{LEASES}(\d{{5,}}|[0-9a-f]{{32}}|beats/[0-9a-f]{{32}})"
)
# Written out instead of "everything in our folders": a user's file that happens to lie there must
# not be deleted.
_OURS = re.compile(
    rf"({'|'.join(PART_FOLDERS)})part-\d{{5,}}-[0-9a-f]{{8}}\.parquet|"
    rf"{SNAPSHOT_FOLDER}{SNAPSHOT_ID}\.json|"
    rf"{REPORT_FOLDER}(?P<reported>{SNAPSHOT_ID})/"
    r"(report\.html|survival\.png|summary\.json|contact-sheet\.png)|"
    rf"{PROBE_PREFIX}[0-9a-f]+|{WORK_FOLDER}images-[0-9a-f]+/[0-9a-f]+|"
    rf"{WORK_FOLDER}[^/]+/({_WORK})",
    re.ASCII,
)
_STAGED = re.compile(r"(.*/)?\.writing-[0-9a-f]+", re.ASCII)


def is_own_key(key: str) -> bool:
    """Say whether a writer can have made an object of this name."""
    return _OURS.fullmatch(key) is not None


def is_own_unfinished(key: str) -> bool:
    """Say whether one of ours can have left this behind, a name of `store.list_unfinished`."""
    target, is_upload, _ = key.rpartition("?")
    return is_own_key(target) if is_upload else _STAGED.fullmatch(key) is not None


def snapshot_of_report(key: str) -> str | None:
    """Return the id of the snapshot whose report an object belongs to; None: it is no report."""
    found = _OURS.fullmatch(key)
    return found["reported"] if found else None
