"""S3 and all that speaks it, through boto3's usual chain (profile, role, AWS_ENDPOINT_URL)."""

# ruff: noqa: D102  (the methods are documented once, in `store.ObjectStore`)

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from io import BufferedReader
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from boto3.exceptions import Boto3Error, S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    MetadataRetrievalError,
)
from urllib3.exceptions import HTTPError

from coupled_core.errors import ConfigError, ConflictError, NotFoundError, StorageError
from coupled_core.redaction import clean_error, redact
from coupled_core.storage.ranged_reader import open_ranges
from coupled_core.storage.s3_environment import check_environment
from coupled_core.storage.scratch import scratch_folder
from coupled_core.storage.store import ObjectInfo, check_key

# HEAD requests have no body, and so no code but the status. 409 is what AWS answers to two
# conditional writes at the same moment.
_LOST_CODES = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
_MISSING_CODES = {"NoSuchKey", "NotFound", "404"}
_CHECKSUMS = "request_checksum_calculation"
_HINTS = {
    "NoSuchBucket": "create the bucket or correct its name",
    "AccessDenied": "check that the credentials may do this on the bucket",
    "403": "check that the credentials may do this on the bucket",
    "InvalidAccessKeyId": "check AWS_PROFILE or AWS_ACCESS_KEY_ID, and AWS_ENDPOINT_URL",
    "SignatureDoesNotMatch": "check the secret key and AWS_ENDPOINT_URL",
    "ExpiredToken": "renew the credentials of the session and run the same command again",
    "RequestTimeTooSkewed": "set the clock of this machine",
    "NotImplemented": "the store lacks what is needed here: use another, or a newer version of it",
}
_HINTS_BY_WORD = {
    "aws-chunked": f"set AWS_{_CHECKSUMS.upper()}=when_required",
    "trailer": f"set AWS_{_CHECKSUMS.upper()}=when_required",
    "content-md5": f"set AWS_{_CHECKSUMS.upper()}=when_supported",  # where objects are locked
}
_MAX_BODY_READS = 3
"""botocore repeats a request until its answer begins; an answer that breaks off is our affair."""
_MAX_MESSAGE_CHARS = 300
_MULTIPART_BYTES = 16 << 20
_DEFAULT_HINT = "check the network, AWS_ENDPOINT_URL, the region and the credentials"


class S3Store:
    """Objects below `s3://bucket/prefix`. The etag is the server's."""

    def __init__(self, uri: str, *, read_timeout_seconds: float = 60) -> None:
        """Take `s3://bucket/prefix` and how long an answer may keep silent; make no request."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        # "@" means user:secret@bucket, as in other URLs; it would be shown in logs and rows.
        if not bucket or "@" in bucket:
            raise ConfigError(
                f"bad S3 location {uri!r}: expected s3://BUCKET/PREFIX, without credentials"
            )
        check_environment()
        self._bucket = bucket
        self._read_timeout_seconds = read_timeout_seconds
        self._root = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    @property
    def uri(self) -> str:
        return f"s3://{self._bucket}/{self._root}".rstrip("/")

    @cached_property
    def _client(self) -> Any:
        """The boto3 client (no type stubs); made at first use, safe to share between threads."""
        with self._named_errors("open", ""):
            try:
                return self._make_client()
            except (HTTPClientError, CredentialRetrievalError, MetadataRetrievalError):
                raise  # whoever hands out credentials may answer in a moment
            except (BotoCoreError, ValueError) as error:
                raise ConfigError(
                    f"cannot open {self.uri}: {error}; check the AWS_ variables and the AWS profile"
                ) from clean_error(error)

    def _make_client(self) -> Any:
        session = botocore.session.get_session()
        config = Config(
            retries={"mode": "standard", "max_attempts": 5},
            connect_timeout=10,
            read_timeout=self._read_timeout_seconds,
            # Some servers answer a range with the checksum of the whole object. Lengths are checked
            # below, parts and snapshots carry a SHA-256 of their own.
            response_checksum_validation="when_required",
            **_request_checksums(session),
        )
        return boto3.session.Session(botocore_session=session).client("s3", config=config)

    def read(self, key: str) -> bytes:
        return self.read_with_etag(key)[0]

    def read_with_etag(self, key: str) -> tuple[bytes, str]:
        with self._named_errors("read", key):
            return self._get(key)

    def write(self, key: str, data: bytes) -> str:
        return self._put(key, data, {})

    def write_if_absent(self, key: str, data: bytes) -> str:
        return self._put(key, data, {"IfNoneMatch": "*"})

    def write_if_match(self, key: str, data: bytes, etag: str) -> str:
        try:
            return self._put(key, data, {"IfMatch": etag})
        except NotFoundError as error:  # deleted meanwhile: a lost race like any other
            raise ConflictError(str(error)) from error

    def stat(self, key: str) -> ObjectInfo:
        with self._named_errors("read", key):
            answer = self._client.head_object(**self._names(key))
            return ObjectInfo(key, answer["ContentLength"], answer["ETag"], answer["LastModified"])

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        with self._named_errors("list", prefix):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._root + prefix):
                for entry in page.get("Contents", ()):
                    if not entry["Key"].endswith("/"):  # consoles mark folders with empty objects
                        key = entry["Key"].removeprefix(self._root)
                        modified_at = entry["LastModified"]
                        yield ObjectInfo(key, entry["Size"], entry["ETag"], modified_at)

    def exists(self, key: str) -> bool:
        try:
            self.stat(key)
        except NotFoundError:
            return False
        return True

    def delete(self, key: str) -> None:
        with self._named_errors("delete", key):
            self._client.delete_object(**self._names(key))

    def upload_file(self, key: str, path: Path, *, as_large: bool = False) -> ObjectInfo:
        threshold = 1 if as_large else _MULTIPART_BYTES
        parts = TransferConfig(multipart_threshold=threshold, multipart_chunksize=_MULTIPART_BYTES)
        with self._named_errors("write", key):
            self._client.upload_file(str(path), *self._names(key).values(), Config=parts)
        return self.stat(key)

    def open_input(self, key: str) -> BufferedReader:
        info = self.stat(key)
        # The etag of the first look goes with every range, so that no reader gets the head of one
        # object and the tail of its successor.
        has_answered = False

        def fetch(start: int, end: int) -> bytes:
            nonlocal info, has_answered
            try:
                data = self._get_range(info, start, end)
            except ConflictError:
                if has_answered:  # what was read before belongs to another object
                    raise
                info = self.stat(key)  # replaced since it was opened, or its tag came out wrong
                data = self._get_range(info, start, end)
            has_answered = True
            return data

        return open_ranges(info.size_bytes, fetch)

    @contextmanager
    def local_copy(self, key: str) -> Iterator[Path]:
        with scratch_folder("copy") as folder:
            path = folder / "object"
            with self._named_errors("read", key):
                self._client.download_file(*self._names(key).values(), str(path))
            yield path

    def list_unfinished(self) -> Iterator[ObjectInfo]:
        pages = self._client.get_paginator("list_multipart_uploads")
        with self._named_errors("list uploads", ""):
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._root):
                for upload in page.get("Uploads", ()):
                    # One key may have several unfinished uploads, so the id goes with it.
                    key = upload["Key"].removeprefix(self._root)
                    yield ObjectInfo(f"{key}?{upload['UploadId']}", 0, None, upload["Initiated"])

    def delete_unfinished(self, key: str) -> None:
        name, _, upload_id = key.rpartition("?")
        with self._named_errors("delete", key), suppress(self._client.exceptions.NoSuchUpload):
            self._client.abort_multipart_upload(**self._names(name), UploadId=upload_id)

    def _get(self, key: str, **conditions: str) -> tuple[bytes, str]:
        """Return body and etag; ask again when the body breaks off."""
        for attempt in range(1, _MAX_BODY_READS + 1):
            answer = self._client.get_object(**self._names(key), **conditions)
            try:
                return answer["Body"].read(), answer["ETag"]
            except BotoCoreError:
                if attempt == _MAX_BODY_READS:
                    raise
        raise AssertionError("unreachable")

    def _get_range(self, info: ObjectInfo, start: int, end: int) -> bytes:
        conditions = {"Range": f"bytes={start}-{end - 1}", "IfMatch": str(info.etag)}
        with self._named_errors("read", info.key):
            data, _ = self._get(info.key, **conditions)
        # A server that ignores the header sends the whole object.
        if len(data) != end - start:
            raise StorageError(
                f"cannot read {self.uri}/{info.key}: expected {end - start} bytes, got {len(data)}"
            )
        return data

    def _names(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._root + check_key(key)}

    def _put(self, key: str, data: bytes, condition: dict[str, str]) -> str:
        with self._named_errors("write", key):
            answer = self._client.put_object(**self._names(key), Body=data, **condition)
            etag: str = answer["ETag"]
        return etag

    @contextmanager
    def _named_errors(self, operation: str, key: str) -> Iterator[None]:
        """Turn boto3's errors into ours, naming what was done to what; credentials never show."""
        what = f"cannot {operation} s3://{self._bucket}/{self._root}{key}"
        try:
            yield
        except (ClientError, S3UploadFailedError) as error:
            # boto3 hides the store's answer to a part of an upload behind an error of its own
            refusal = error if isinstance(error, ClientError) else error.__context__
            raise _client_error(what, getattr(refusal, "response", {})) from clean_error(error)
        # Not all servers send all headers, such as the ETag of an upload.
        except KeyError as error:
            raise StorageError(f"{what}: the store answered without {error}") from error
        except (BotoCoreError, Boto3Error, HTTPError, OSError, ValueError) as error:
            raise StorageError(
                f"{what}: {type(error).__name__}: {error}; {_DEFAULT_HINT}"
            ) from clean_error(error)


def _request_checksums(session: botocore.session.Session) -> dict[str, str]:
    """Return how uploads are guarded, unless the environment or the profile says it.

    boto3's own default sends a checksum after the body, in a framing (aws-chunked) that stores of
    before 2025 refuse, or keep as a part of the object. Without it the request's signature covers
    the SHA-256 of the body, which every store checks.
    """
    is_chosen = f"AWS_{_CHECKSUMS.upper()}" in os.environ or _CHECKSUMS in (
        session.get_scoped_config()
    )
    return {} if is_chosen else {_CHECKSUMS: "when_required"}


def _client_error(what: str, response: Mapping[str, Any]) -> StorageError:
    answer = response.get("Error", {})
    code, message = str(answer.get("Code", "unknown")), str(answer.get("Message") or "")
    status = str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    if code in _LOST_CODES or status in _LOST_CODES:
        return ConflictError(f"{what}: another writer was there first ({code})")
    if code in _MISSING_CODES:
        return NotFoundError(f"{what}: it does not exist")
    # The message may name the header at fault, which says more than the code.
    by_word = (hint for word, hint in _HINTS_BY_WORD.items() if word in message.lower())
    hint = next(by_word, None) or _HINTS.get(code, _DEFAULT_HINT)
    # In one line and cut: the text comes from the server and ends up in logs.
    said = " ".join(redact(message).split())[:_MAX_MESSAGE_CHARS].rstrip(".")
    return StorageError(f"{what}: {code} (HTTP {status}){f': {said}' if said else ''}; {hint}")
