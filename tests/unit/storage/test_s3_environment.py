"""Variables that no request can be made with are named at once, and their values never shown."""

import os
from pathlib import Path

import pytest

from coupled_core.errors import ConfigError, StorageError
from coupled_core.storage.open_store import open_store


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
@pytest.mark.parametrize(
    ("endpoint", "problem"),
    [
        ("127.0.0.1:9000", "does not begin with http"),
        ("minio.example", "does not begin with http"),
        ("user:planted@minio.example:9000", "does not begin with http"),
        ("ftp://minio.example", "does not begin with http"),
        ("http://", "has a host or a port that is none"),
        ("http://:9000", "has a host or a port that is none"),
        ("http://minio.example:port", "has a host or a port that is none"),
        ("http://minio.example:99999", "has a host or a port that is none"),
        ("http://minio.example:0", "has a host or a port that is none"),
        ("http://user:planted:9000", "has a host or a port that is none"),
        ("http://[::1", "has a host or a port that is none"),
        ("http://minio.example:9000\n", "holds blanks or characters"),
        ("http://minio example", "holds blanks or characters"),
    ],
)
def test_an_endpoint_that_is_no_address_is_a_wrong_setting(
    aws: pytest.MonkeyPatch, name: str, endpoint: str, problem: str
) -> None:
    aws.setenv(name, endpoint)
    with pytest.raises(ConfigError, match=f"{name} {problem}.*: expected an address") as caught:
        open_store("s3://bucket/x")
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint",
    ["http://127.0.0.1:9000", "HTTPS://minio.example", "http://[::1]:9000", "https://u:p@h/x", ""],
)
def test_an_address_is_taken(aws: pytest.MonkeyPatch, endpoint: str) -> None:
    aws.setenv("AWS_ENDPOINT_URL", endpoint)
    open_store("s3://bucket/x")


@pytest.mark.parametrize(
    "name",
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"],
)
@pytest.mark.parametrize("value", ["planted\n", "plan\nted", " planted", "plänted", "plan\tted"])
def test_credentials_that_no_header_can_carry_are_a_wrong_setting(
    aws: pytest.MonkeyPatch, name: str, value: str
) -> None:
    aws.setenv(name, value)
    with pytest.raises(ConfigError, match=f"{name} holds a space, a line break") as caught:
        open_store("s3://bucket/x")
    assert "plan" not in str(caught.value).replace(name, "")


def test_credentials_in_the_location_are_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="without credentials") as caught:
        open_store("s3://someid:planted@bucket/x")
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("[default]\nendpoint_url = 127.0.0.1:9000\n", "Invalid endpoint"),
        ("[default\n", "parse"),
        ("[default]\nrequest_checksum_calculation = sometimes\n", "sometimes"),
        ("[profile other]\n", "profile"),
    ],
)
def test_a_profile_that_cannot_be_used_is_a_wrong_setting(
    aws: pytest.MonkeyPatch, tmp_path: Path, config: str, reason: str
) -> None:
    (tmp_path / "config").write_text(config)
    aws.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    if "other" in config:
        aws.setenv("AWS_PROFILE", "another")
    with pytest.raises(ConfigError, match=f"{reason}.*check the AWS_ variables"):
        open_store("s3://bucket/x").read("key")


@pytest.mark.parametrize("key", ["\udcff", "a" * 2000])
def test_keys_that_s3_cannot_have_are_errors_of_ours(aws: pytest.MonkeyPatch, key: str) -> None:
    aws.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    aws.setenv("AWS_ACCESS_KEY_ID", "id")
    aws.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with pytest.raises(StorageError, match="cannot read"):
        open_store("s3://bucket/x").read(key)
