"""What the machine, the shell and the environment do to a command, each with its exit code.

Each row is a condition, and a cheap command under it: nothing may end in an unexpected error, in a
traceback, or with a secret on the screen.
"""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.storage.local import LocalStore
from tests.coupled_command import ROOT
from tests.sample_shards import describe_run, publish

pytestmark = pytest.mark.timeout(300)
SECRET = "hunter2hunter2"
NEVER = ("error: unexpected", "Traceback", SECRET, "weights_only=False", "Exception ignored")
COUPLED = f"{sys.executable} -P -m flows.cli.main"
WITHOUT_PRIVILEGES = (
    "setpriv --bounding-set=-dac_override,-dac_read_search " if os.geteuid() == 0 else ""
)
"""Root reads everything, unless it gives that up."""


@dataclass(frozen=True)
class Row:
    """One condition."""

    name: str
    shell: str
    """`coupled` stands for the command; it runs in a folder with a dataset `pairs`."""
    code: int
    says: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


def _s3(**more: str) -> dict[str, str]:
    keys = {"AWS_ACCESS_KEY_ID": "a" * 16, "AWS_SECRET_ACCESS_KEY": SECRET}
    return {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", **keys, **more}


BUILD = "coupled build --prompts none.parquet --output new"
ROWS = (
    Row("the reader leaves", "set -o pipefail; coupled show pairs | true", 0),
    Row("stdout is closed", "coupled show pairs >&-", 0),
    Row("every stream is closed", "coupled show pairs <&- >&- 2>&-", 0),
    Row("stdout is on a full device", "coupled show pairs > /dev/full", 4,
        ("standard output", "No space left")),
    Row("help goes to a full device", "coupled --help > /dev/full", 4, ("standard output",)),
    Row("stderr is on a full device", "coupled show none 2> /dev/full", 4),
    Row("stderr is closed", "coupled show none 2>&-", 4),
    Row("ASCII alone", "coupled show dätä", 4, ("holds no dataset",),
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    Row("a dumb terminal", "coupled --help", 0, ("Environment",), {"TERM": "dumb"}),
    Row("few open files", "ulimit -n 16; coupled show pairs", 0, ("pairs kept",)),
    Row("small files", "ulimit -f 1; coupled recut pairs --min-combined 2", 4,
        ("File too large",)),
    Row("little memory", "ulimit -v 1500000; coupled generate 'A red kite flies over a beach'"
        " 'A blue kite flies over a beach' -o kites.png", 1, ("out of memory", "ulimit -v")),
    Row("a setting that is no number", "coupled plan", 2, ("COUPLED_GENERATION__SEED", "'x'"),
        {"COUPLED_GENERATION__SEED": "x"}),
    Row("an endpoint without a scheme", "coupled show s3://b/x", 2,
        ("AWS_ENDPOINT_URL", "http://HOST:PORT"), _s3(AWS_ENDPOINT_URL="localhost:9000")),
    Row("a profile that is none", "coupled show s3://b/x", 2, ("none-such", "AWS profile"),
        {"AWS_PROFILE": "none-such"}),
    Row("a store that is down", "coupled show s3://b/x", 4, ("connect to the endpoint",),
        _s3(AWS_MAX_ATTEMPTS="1")),
    Row("a key in the output", f"coupled plan --output s3://key:{SECRET}@bucket/x", 2,
        ("--output", "AWS_PROFILE")),
    Row("a key in the prompts", f"coupled plan --prompts 's3://b/x?X-Amz-Signature={SECRET}'", 2,
        ("--prompts",)),
    Row("a key in the cache", "coupled plan", 2, ("COUPLED_SPLIT__CACHE_URI",),
        {"COUPLED_SPLIT__CACHE_URI": f"s3://key:{SECRET}@bucket/x"}),
    Row("Prefect is down", BUILD, 1, ("no Prefect server answers", "http://127.0.0.1:9/api"),
        {"PREFECT_API_URL": "http://127.0.0.1:9/api"}),
    Row("Prefect's address is none", BUILD, 2, ("PREFECT_API_URL", "http://HOST:PORT/api"),
        {"PREFECT_API_URL": "prefect"}),
    Row("a password in Prefect's address", BUILD, 2, ("PREFECT_API_AUTH_STRING",),
        {"PREFECT_API_URL": f"http://user:{SECRET}@127.0.0.1:9/api"}),
    Row("nonsense for Prefect", BUILD, 2, ("PREFECT_API_REQUEST_TIMEOUT: expected",),
        {"PREFECT_API_REQUEST_TIMEOUT": "soon"}),
    Row("a home that is closed", f"{WITHOUT_PRIVILEGES}{BUILD}", 2,
        ("Prefect cannot read its settings", "PREFECT_HOME"), {"HOME": "closed"}),
    Row("a schedule that is a pipe", "mkfifo pipe; coupled plan --schedule pipe", 2,
        ("expected a regular file",)),
    Row("settings without end", "coupled plan --config /dev/zero", 2, ("expected a regular file",)),
    Row("decisions that are a pipe", "mkfifo pipe2; coupled review pairs --apply pipe2", 2,
        ("expected a regular file",)),
    Row("a pointer without end",
        "cp -r pairs broken; truncate -s 100M broken/current.json; coupled show broken", 4,
        ("current.json is damaged",)),
    Row("a pointer that is a pipe",
        "cp -r pairs piped; rm piped/current.json; mkfifo piped/current.json; coupled show piped",
        4, ("current.json is neither a file nor a folder",)),
    Row("a pickled checkpoint",
        f"{sys.executable} -c 'import os, pickle; pickle.dump(os.getcwd, open(\"a.pth\", \"wb\"))';"
        " coupled plan --sam-model vit_b:a.pth", 3,
        ("a.pth is not a vit_b Segment Anything checkpoint", "safetensors")),
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("surroundings")
    store = LocalStore(made / "pairs")
    commit_shards(store, [publish(store, "run", 0)], describe_run("run"))
    (made / "closed").mkdir(mode=0)
    return made


@pytest.mark.parametrize("row", ROWS, ids=[row.name.replace(" ", "-") for row in ROWS])
def test_a_condition_is_named_with_its_exit_code(folder: Path, row: Row) -> None:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PREFECT_"))}
    done = subprocess.run(
        ["bash", "-c", row.shell.replace("coupled ", f"{COUPLED} ")],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT), **row.environment},
        capture_output=True,
        timeout=200,
    )
    text = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == row.code, text
    assert [words for words in row.says if words not in text] == [], text
    assert [words for words in NEVER if words in text] == [], text
