"""No secret of the environment stands in an error, in whatever form a library quotes it."""

import base64
import http.client
import json
import logging
import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from coupled_core.errors import (
    ConfigError,
    CoupledError,
    LlmError,
    ModelUnavailableError,
    StorageError,
)
from coupled_core.redaction import clean_error, redact
from coupled_core.storage.s3 import S3Store

SECRET = "f4nc/+secret=with%odd chars"
NAMES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "HF_TOKEN",
    "PREFECT_API_KEY",
    "PREFECT_API_AUTH_STRING",
    "SOMEBODYS_TOKEN",
    "CLIENT_SECRET",
    "DB_PASSWORD",
)
FORMS: dict[str, Callable[[str], str]] = {
    "itself": str,
    "in a Python literal": repr,
    "in a header": lambda secret: repr(secret.encode()),
    "in JSON": json.dumps,
    "in an address": lambda secret: quote(secret, safe=""),
    "in the path of an address": quote,
    "in a form": quote_plus,
    "in basic authentication": lambda secret: base64.b64encode(secret.encode()).decode(),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", [SECRET, "first line of it\nsecond line of it\n"])
def test_a_secret_variable_is_taken_out_in_every_form(
    monkeypatch: pytest.MonkeyPatch, name: str, form: str, secret: str
) -> None:
    monkeypatch.setenv(name, secret)
    text = redact(f"cannot reach it with {FORMS[form](secret)} at all")
    assert text.startswith("cannot reach it with ") and text.endswith(" at all")
    assert "[redacted]" in text
    for part in (secret, *secret.splitlines(), SECRET[:8], quote(secret, safe="")[:12]):
        assert part not in text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("at http://user:pass@host:9/b", "at http://[redacted]@host:9/b"),
        ("at http://user:p@ss@host/b", "at http://[redacted]@host/b"),
        ("https://token@host", "https://[redacted]@host"),
        ("http://host:9/a@b", "http://host:9/a@b"),
        ("GET /x?a=1&sig=abc%2Fdef&b=2", "GET /x?a=1&sig=[redacted]&b=2"),
        ('"?X-Amz-Signature=0a1b"', '"?X-Amz-Signature=[redacted]"'),
        ("?X-Amz-Credential=AKIA/2026", "?X-Amz-Credential=[redacted]"),
        (r"Invalid header value b'to\'k\nen' (x)", "Invalid header value [redacted] (x)"),
        ("in header value: 'abc'", "in header value: [redacted]"),
        ("{'Authorization': 'Basic dXNlcg=='}", "{'Authorization': '[redacted]'}"),
        ("AWS4 Signature=0a1b2c, x", "AWS4 Signature=[redacted], x"),
        ("key AKIAIOSFODNN7EXAMPLE is", "key [redacted] is"),
        ("sk-ant-api03-abcdefgh", "[redacted]"),
        ("the token included in the request is expired", None),
        ("set AWS_SESSION_TOKEN or log in with basic authentication", None),
        ("s3://bucket/manifest/part-00000-1a2b3c4d.parquet: NoSuchKey (HTTP 404)", None),
    ],
)
def test_what_looks_like_a_secret_is_taken_out_and_nothing_else(
    before: str, after: str | None
) -> None:
    assert redact(before) == (before if after is None else after)
    assert redact(redact(before)) == redact(before)


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("http://user:hunter22@127.0.0.1:9", ["hunter22"]),
        ("http://user:hun/ter?22@127.0.0.1:9", ["hun/ter", "ter?22"]),
        ("user:hunter22@127.0.0.1:9", ["hunter22"]),
        ("http://127.0.0.1:9/?sig=deadbeef1234", ["deadbeef1234"]),
    ],
)
def test_passwords_within_addresses_are_known_wherever_they_stand(
    monkeypatch: pytest.MonkeyPatch, url: str, secrets: list[str]
) -> None:
    monkeypatch.setenv("SOME_ENDPOINT_URL", url)
    for text in (url, url.replace("http://", ""), f"nonnumeric port: '{url.split(':')[-1]}'"):
        assert not any(secret in redact(text) for secret in secrets), redact(text)


def test_short_and_common_values_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert redact("it is true in us-east-1") == "it is true in us-east-1"


@pytest.mark.parametrize("kind", [CoupledError, StorageError, LlmError, ModelUnavailableError])
def test_every_error_of_ours_is_made_without_secrets(
    monkeypatch: pytest.MonkeyPatch, kind: type[CoupledError]
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    error = kind(f"refused {SECRET}")
    assert str(error) == "refused [redacted]"
    assert str(pickle.loads(pickle.dumps(error))) == "refused [redacted]"
    assert repr(error.args) == "('refused [redacted]',)"


def test_causes_are_cleaned_and_innocent_errors_stay_what_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    innocent = KeyError("nothing")
    assert clean_error(innocent) is innocent
    try:
        try:
            try:
                raise ValueError(f"bad {SECRET}")
            except ValueError as error:
                raise KeyError("in between") from error
        except KeyError as error:
            raise ConfigError("wrong") from error
    except ConfigError as error:
        assert SECRET in "".join(traceback.format_exception(error))
        clean = clean_error(error)
        assert clean is error
    text = "".join(traceback.format_exception(clean))
    assert SECRET not in text
    assert "RuntimeError: ValueError: bad [redacted]" in text and "in between" in text


def test_notes_and_members_of_a_group_count_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    noted = OSError("x")
    noted.add_note(f"with {SECRET}")
    for error in (noted, ExceptionGroup("several", [OSError(SECRET)])):
        assert SECRET not in "".join(traceback.format_exception(clean_error(error)))


def test_a_header_that_cannot_be_sent_does_not_show_its_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What `http.client` really says; the token comes from no variable."""
    connection = http.client.HTTPConnection("127.0.0.1")
    connection.putrequest("GET", "/", skip_host=True)
    with pytest.raises(ValueError, match="header value") as caught:
        connection.putheader("X-Amz-Security-Token", "from\na file")
    assert redact(str(caught.value)) == "Invalid header value [redacted]"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    return monkeypatch


def test_a_token_with_a_line_break_from_a_file_never_shows(
    aws: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = someid\naws_secret_access_key = somesecret\n"
        "aws_session_token = planted-first\n planted-second\n"
    )
    with pytest.raises(StorageError, match="header value") as caught:
        S3Store("s3://bucket/x").read("key")
    assert "planted" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "endpoint", ["http://user:planted1@127.0.0.1:9", "http://127.0.0.1:9/?sig=planted22"]
)
def test_an_endpoint_that_does_not_answer_keeps_its_secrets(
    aws: pytest.MonkeyPatch, endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    aws.setenv("AWS_ENDPOINT_URL", endpoint)
    aws.setenv("AWS_ACCESS_KEY_ID", "planted-id")
    aws.setenv("AWS_SECRET_ACCESS_KEY", "planted-key")
    store = S3Store("s3://bucket/x")
    with caplog.at_level(logging.INFO), pytest.raises(StorageError) as caught:
        store.read("key")
    assert "planted" not in "".join(traceback.format_exception(caught.value)) + caplog.text
