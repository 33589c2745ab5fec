"""Other thresholds over finished rows: decisions change, images and rows do not."""

from pathlib import Path

import pytest

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import upload_shard
from coupled_core.dataset.reader import current_snapshot, iter_manifest
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.upkeep.history import diff_snapshots, roll_back
from coupled_core.dataset.upkeep.recut import recut
from coupled_core.dataset.upkeep.verify import verify_snapshot
from coupled_core.errors import DatasetError
from coupled_core.storage.local import LocalStore
from tests.sample_shards import describe_run, make_rows, with_images
from tests.stored_images import iter_images

STRICT, LOOSE = 1.5, 0.5
SCORES = (2.0, 1.2, 0.7)
"""Combined metric of the pairs; the first two are kept at the default threshold of 1."""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def _build(store: LocalStore, *, store_dropped: bool = False, **changes: object) -> Snapshot:
    made = make_rows("run", 0, num_kept=3, num_dropped=0)
    for row, combined in zip(made.rows, SCORES, strict=False):
        row.update(combined=combined, kept=combined >= 1)
        row["reject_reasons"] = [] if row["kept"] else ["below_min_combined"]
    made.rows[2].update(changes)
    stored = made.image_rows if store_dropped else made.image_rows[:2]
    shard = upload_shard(store, with_images(made.rows, stored), run_id="run", shard_index=0)
    snapshot = commit_shards(store, [shard], describe_run("run"))
    assert snapshot is not None
    return snapshot


def _rows(store: LocalStore) -> list[Row]:
    snapshot = current_snapshot(store)
    assert snapshot is not None
    assert verify_snapshot(store, snapshot).damage.listed == []
    return [row for batch in iter_manifest(store, snapshot.parts) for row in batch.to_pylist()]


def _kept(store: LocalStore) -> list[bool]:
    return [row["kept"] for row in _rows(store)][:3]


def test_a_stricter_threshold_writes_manifest_parts_only(store: LocalStore) -> None:
    base = _build(store)
    report = recut(store, {"min_combined": STRICT})
    assert report.snapshot is not None
    assert (report.num_dropped, report.num_kept) == (1, 0)
    assert _kept(store) == [True, False, False]
    assert report.snapshot.parts_of("images") == base.parts_of("images")
    assert (report.snapshot.parent, report.snapshot.action) == (base.snapshot_id, "recut")
    assert report.snapshot.details == {"min_combined": STRICT}
    assert report.snapshot.runs[0].thresholds["min_combined"] == STRICT
    assert report.snapshot.runs[0].config == base.runs[0].config


def test_a_recut_back_restores_every_row(store: LocalStore) -> None:
    _build(store)
    before = _rows(store)
    recut(store, {"min_combined": STRICT})
    report = recut(store, {"min_combined": 1.0})
    assert report.num_kept == 1
    assert _rows(store) == before


def test_the_same_thresholds_make_no_snapshot(store: LocalStore) -> None:
    _build(store)
    assert recut(store, {"min_combined": STRICT}).snapshot is not None
    assert recut(store, {"min_combined": STRICT}).snapshot is None


def test_a_looser_threshold_is_refused_where_images_were_not_stored(store: LocalStore) -> None:
    base = _build(store)
    with pytest.raises(DatasetError, match=r"1 pairs would be kept.*--store-dropped.*--leave-out"):
        recut(store, {"min_combined": LOOSE})
    assert current_snapshot(store) == base


def test_pairs_without_images_are_left_out_when_asked(store: LocalStore) -> None:
    _build(store)
    report = recut(store, {"min_combined": LOOSE}, leave_out=True)
    assert report.num_without_images == 1
    assert _kept(store) == [True, True, False]


def test_stored_images_of_dropped_pairs_come_back_among_the_kept(store: LocalStore) -> None:
    base = _build(store, store_dropped=True)
    dropped = [row for b in iter_images(store, base.parts, kind="dropped") for row in b.to_pylist()]
    assert sum(b.num_rows for b in iter_images(store, base.parts)) == 2
    report = recut(store, {"min_combined": LOOSE})
    assert report.snapshot is not None
    assert _kept(store) == [True, True, True]
    images = [row for b in iter_images(store, report.snapshot.parts) for row in b.to_pylist()]
    assert len(images) == 3
    assert dropped[0] in images
    assert set(base.parts_of("images")) < set(report.snapshot.parts_of("images"))


@pytest.mark.parametrize("reason", ["unsafe", "duplicate"])
def test_reasons_that_are_no_thresholds_outlast_a_recut(store: LocalStore, reason: str) -> None:
    other = "0" * 32 if reason == "duplicate" else None
    reasons = ["below_min_combined", reason]
    _build(store, store_dropped=True, reject_reasons=reasons, duplicate_of=other)
    recut(store, {"min_combined": LOOSE})
    assert _rows(store)[2]["reject_reasons"] == [reason]


def test_a_persons_verdict_outlasts_a_recut(store: LocalStore) -> None:
    _build(store, store_dropped=True, review_status="drop", reject_reasons=["below_min_combined"])
    recut(store, {"min_combined": LOOSE})
    assert _kept(store) == [True, True, False]


def test_a_rival_that_commits_meanwhile_is_recut_too(tmp_path: Path) -> None:
    class Overtaken(LocalStore):
        has_rival = True

        def write_if_match(self, key: str, data: bytes, etag: str) -> str:
            if key == "current.json" and self.has_rival and b"recut" in data:
                self.has_rival = False
                rival = make_rows("rival", 5, num_dropped=0)
                facts = {"run_id": "rival", "shard_index": 5}
                other = LocalStore(self.root)
                shard = upload_shard(other, with_images(rival.rows, rival.image_rows), **facts)  # type: ignore[arg-type]
                assert commit_shards(other, [shard], describe_run("rival"))
            return super().write_if_match(key, data, etag)

    store = Overtaken(tmp_path)
    _build(store)
    report = recut(store, {"min_combined": 3.0})
    assert report.snapshot is not None
    assert report.snapshot.run_ids == ("run", "rival")
    assert not any(row["kept"] for row in _rows(store))
    assert [run.thresholds for run in report.snapshot.runs] == [{"min_combined": 3.0}] * 2


def test_a_diff_tells_what_a_recut_changed(store: LocalStore) -> None:
    base = _build(store)
    snapshot = recut(store, {"min_combined": STRICT}).snapshot
    assert snapshot is not None
    found = diff_snapshots(store, base, snapshot)
    assert (found.num_added, found.num_removed, found.num_now_kept) == (0, 0, 0)
    assert (found.num_now_dropped, found.num_other_reasons) == (1, 0)
    assert found.settings == {"filter.min_combined": ([], [STRICT])}
    ((_, before, after),) = found.examples
    assert before is not None and after is not None
    assert (before.kept, after.reasons) == (True, ("below_min_combined",))


def test_a_rollback_undoes_a_recut_and_is_undone_itself(store: LocalStore) -> None:
    base = _build(store)
    snapshot = recut(store, {"min_combined": STRICT}).snapshot
    assert snapshot is not None
    assert roll_back(store, "parent") == (base, snapshot.snapshot_id)
    assert _kept(store) == [True, True, False]
    assert roll_back(store, "previous") == (snapshot, base.snapshot_id)
    assert _kept(store) == [True, False, False]


def test_a_damaged_part_is_not_written_anew_under_a_hash_that_fits_it(store: LocalStore) -> None:
    part = _build(store).parts_of("manifest")[0]
    data = bytearray(store.read(part.key))
    data[-9] ^= 1  # in the footer, which nothing else guards
    store.write(part.key, bytes(data))
    with pytest.raises(DatasetError, match=f"{part.key} is damaged: SHA-256"):
        recut(store, {"min_combined": STRICT})


def _build_attempts(store: LocalStore, *, store_dropped: bool) -> None:
    """Make three attempts at one edit: the best is kept, another would pass, one fails."""
    made = make_rows("run", 0, num_kept=3, num_dropped=0)
    reasons: tuple[list[str], ...] = ([], ["not_best"], ["below_min_combined"])
    for row, combined, why, attempt in zip(made.rows, SCORES, reasons, (1, 2, 3), strict=False):
        row.update(group_id="group", attempt=attempt, combined=combined, pixel_mse=100.0 * attempt)
        row.update(kept=not why, reject_reasons=why)
    stored = made.image_rows if store_dropped else made.image_rows[:1]
    shard = upload_shard(store, with_images(made.rows, stored), run_id="run", shard_index=0)
    assert commit_shards(store, [shard], describe_run("run"))


def _reasons(store: LocalStore) -> list[list[str]]:
    return [row["reject_reasons"] for row in _rows(store)][:3]


def test_a_looser_cut_keeps_no_more_attempts_than_before(store: LocalStore) -> None:
    _build_attempts(store, store_dropped=True)
    recut(store, {"min_combined": LOOSE})
    assert _reasons(store) == [[], ["not_best"], ["not_best"]]


def test_the_next_best_attempt_takes_the_place_of_one_that_is_cut(store: LocalStore) -> None:
    _build_attempts(store, store_dropped=True)
    report = recut(store, {"min_pixel_mse": 150.0})
    assert (report.num_dropped, report.num_kept) == (1, 1)
    assert _reasons(store) == [["near_identical"], [], ["below_min_combined"]]
    recut(store, {"min_pixel_mse": 4.0})
    assert _reasons(store) == [[], ["not_best"], ["below_min_combined"]]


def test_an_attempt_without_images_takes_nobodys_place(store: LocalStore) -> None:
    _build_attempts(store, store_dropped=False)
    report = recut(store, {"min_pixel_mse": 150.0})
    assert (report.num_dropped, report.num_kept, report.num_without_images) == (1, 0, 0)
    assert _reasons(store) == [["near_identical"], ["not_best"], ["below_min_combined"]]


def test_rows_from_before_a_score_keep_their_decision_and_are_counted(store: LocalStore) -> None:
    _build(store, store_dropped=True, rim_seam=None, combined=2.0, kept=True, reject_reasons=[])
    report = recut(store, {"max_rim_seam": 0.1})
    assert (report.num_unmeasured, report.num_dropped) == (1, 2)
    assert _kept(store) == [False, False, True]


def test_a_cut_by_crop_evidence_leaves_rows_without_regions_alone_and_is_taken_back(
    store: LocalStore,
) -> None:
    changes = {"combined": 2.0, "kept": True, "reject_reasons": []}
    _build(store, store_dropped=True, crop_evidence_0=0.1, crop_evidence_1=0.6, **changes)
    report = recut(store, {"max_crop_evidence": 0.5, "min_combined": -5.0})
    assert _reasons(store)[2] == ["cropped"]
    assert _kept(store) == [True, True, False]
    assert report.num_unmeasured == 2
    recut(store, {"max_crop_evidence": 0.7, "min_combined": -5.0})
    assert _kept(store) == [True, True, True]
