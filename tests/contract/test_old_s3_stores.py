"""Stores of before 2025, over TLS, where boto3's own default would send uploads in chunks."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from coupled_core.dataset.commit.publish import ensure_conditional_writes
from coupled_core.errors import StorageError
from coupled_core.storage.open_store import open_store
from coupled_core.storage.probe import probe_conditional_writes, probe_round_trip
from coupled_core.storage.store import ObjectStore
from tests.contract.old_s3_store import REFUSAL, Mood, old_s3_store
from tests.s3_servers import S3Server

CHECKSUMS = "AWS_REQUEST_CHECKSUM_CALCULATION"


@pytest.fixture
def store(mood: Mood, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    with old_s3_store(mood, tmp_path) as (endpoint, certificate):
        for name, value in S3Server(endpoint).environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv(CHECKSUMS, raising=False)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        yield open_store("s3://bucket/dataset")


CHUNK_MOODS = (Mood.REFUSES_CHUNKS, Mood.KEEPS_FRAMING, Mood.KEEPS_FRAMING_OF_PARTS)


@pytest.mark.parametrize("mood", CHUNK_MOODS)
def test_what_is_written_comes_back_from_a_store_that_does_not_know_chunks(
    store: ObjectStore, tmp_path: Path
) -> None:
    store.write("small", b"hello")
    assert store.read("small") == b"hello"
    (tmp_path / "file").write_bytes(b"x" * 100)
    for as_large in (False, True):
        assert store.upload_file("file", tmp_path / "file", as_large=as_large).size_bytes == 100
        assert store.read("file") == b"x" * 100
    probe_round_trip(store)
    assert probe_conditional_writes(store)


@pytest.mark.parametrize("mood", [Mood.REFUSES_CHUNKS])
def test_a_refusal_is_told_in_the_words_of_the_store_and_says_what_helps(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CHECKSUMS, "when_supported")
    text = f"NotImplemented .*{re.escape(REFUSAL.rstrip('.'))}; set {CHECKSUMS}=when_required"
    with pytest.raises(StorageError, match=text):
        ensure_conditional_writes(store, single_writer=True)


@pytest.mark.parametrize("mood", [Mood.KEEPS_FRAMING, Mood.KEEPS_FRAMING_OF_PARTS])
@pytest.mark.parametrize("single_writer", [False, True])
def test_a_store_that_garbles_what_it_is_given_does_not_pass_the_probe(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, single_writer: bool
) -> None:
    monkeypatch.setenv(CHECKSUMS, "when_supported")
    text = rf"does not give back .*framing.*set {CHECKSUMS}=when_required"
    with pytest.raises(StorageError, match=text):
        ensure_conditional_writes(store, single_writer=single_writer)


@pytest.mark.parametrize("mood", [Mood.KNOWS_NO_PARTS])
def test_a_store_that_cannot_take_large_files_is_refused_in_its_own_words(
    store: ObjectStore,
) -> None:
    with pytest.raises(StorageError, match=r"NotImplemented .*in parts are not for us; the store"):
        probe_round_trip(store)


@pytest.mark.parametrize("mood", [Mood.REFUSES_CHUNKS])
def test_what_a_profile_says_about_checksums_holds(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[default]\nrequest_checksum_calculation = when_supported\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(StorageError, match=f"set {CHECKSUMS}=when_required"):
        store.write("small", b"hello")
