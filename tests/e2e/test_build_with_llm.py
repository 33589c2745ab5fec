"""`coupled build` with a language model behind a real socket: cost, cap, repetition, secrecy."""

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.coupled_command import Coupled, build_arguments, read_rows, write_prompts
from tests.messages_server.fixture import start_messages_server  # noqa: F401
from tests.messages_server.process import RunningServer
from tests.messages_server.settings import API_KEY

START = Callable[..., RunningServer]


def with_server(coupled: Coupled, server: RunningServer) -> Coupled:
    """Return the command with a key, and with what Prefect keeps on the client's side at hand."""
    write_prompts(coupled.folder / "prompts.parquet")
    home = {"PREFECT_HOME": str(coupled.folder / "prefect")}
    return Coupled(coupled.folder, {**coupled.environment, **server.environment, **home})


def build_with_model(*more: str) -> list[str]:
    """Return the small build with splits by the model."""
    return build_arguments("--splitter", "anthropic", *more)


def read_prefect(url: str) -> str:
    """Return all that Prefect's server knows: parameters, inputs, states with results, logs."""
    documents = []
    for name in ("flow_runs", "task_runs", "logs", "artifacts"):
        offset = 0
        while page := _read_page(f"{url}/{name}/filter", offset):
            documents.append(page)
            offset += len(page)
    return json.dumps(documents)


def _read_page(url: str, offset: int) -> list[Any]:
    body = json.dumps({"limit": 200, "offset": offset}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        page: list[Any] = json.load(response)
    return page


@pytest.mark.parametrize("transport", ["online", "batch"])
def test_a_build_pays_once_says_what_it_cost_and_never_shows_the_key(
    coupled: Coupled,
    start_messages_server: START,  # noqa: F811
    transport: str,
) -> None:
    server = start_messages_server()
    command = with_server(coupled, server)
    options = ("--no-cap", "--json", "--verbose", "--debug")
    arguments = build_with_model("--split-transport", transport, *options)
    code, output, errors = command.run(*arguments)
    assert code == 0, errors
    rows, summary = read_rows(coupled.folder / "pairs"), json.loads(output)
    assert {row["split_source"] for row in rows} == {transport}
    assert {row["split_model"] for row in rows} == {"claude-haiku-5-5"}
    cost = sum(row["llm_cost_usd"] for row in rows)
    assert cost == pytest.approx(summary["llm_cost_usd"], abs=1e-12)
    assert cost == pytest.approx(summary["llm_spent_usd"], abs=1e-12)
    assert server.counters()["paid"][transport] == 4

    requests = server.counters()["requests"]
    code, again, more_errors = command.run(*arguments)
    assert code == 0, more_errors
    assert server.counters()["requests"] == requests

    assert API_KEY not in output + errors + again + more_errors
    written = [path for path in coupled.folder.rglob("*") if path.is_file()]
    assert len(written) > 10
    assert [path for path in written if API_KEY.encode() in path.read_bytes()] == []
    known = read_prefect(command.environment["PREFECT_API_URL"])
    assert "prompts.parquet" in known  # so parameters were searched
    assert API_KEY not in known


def test_a_build_stops_at_the_cap_and_goes_on_with_a_higher_one(
    coupled: Coupled,
    start_messages_server: START,  # noqa: F811
) -> None:
    server = start_messages_server()
    command = with_server(coupled, server)
    code, output, errors = command.run(*build_with_model("--max-llm-usd", "0.0009"))
    assert code == 6, errors
    assert "stopped at the cap of 0.0009 USD" in errors
    assert API_KEY not in output + errors
    num_paid = server.counters()["paid"]["online"]
    code, _, errors = command.run(*build_with_model("--max-llm-usd", "1"))
    assert code == 0, errors
    assert 0 < num_paid < server.counters()["paid"]["online"] == 4


def test_an_answer_that_repeats_the_key_and_an_address_with_a_password_leak_nothing(
    coupled: Coupled,
    start_messages_server: START,  # noqa: F811
) -> None:
    echo = {"type": "authentication_error", "message": f"bad key {API_KEY} in Bearer {API_KEY}"}
    body = json.dumps({"type": "error", "error": echo})
    server = start_messages_server(raw={"messages": {"status": 401, "body": body}})
    command = with_server(coupled, server)
    arguments = build_with_model("--no-cap", "--json", "--verbose", "--debug")
    code, output, errors = command.run(*arguments)
    assert code == 6, errors
    assert "check ANTHROPIC_API_KEY" in output + errors

    address = server.base_url.replace("http://", "http://user:secret-pass@")
    changed = {**command.environment, "ANTHROPIC_BASE_URL": address}
    code, more_output, more_errors = Coupled(coupled.folder, changed).run(*arguments)
    assert code == 2, more_errors
    assert "ANTHROPIC_BASE_URL holds a user or a password" in more_errors

    told = output + errors + more_output + more_errors
    known = read_prefect(command.environment["PREFECT_API_URL"])
    assert "prompts.parquet" in known
    written = [path for path in coupled.folder.rglob("*") if path.is_file()]
    for secret in (API_KEY, "secret-pass"):
        assert secret not in told + known
        assert [path for path in written if secret.encode() in path.read_bytes()] == []


def test_a_model_without_a_price_is_named_before_anything_is_asked(
    coupled: Coupled,
    start_messages_server: START,  # noqa: F811
) -> None:
    server = start_messages_server()
    code, output, errors = with_server(coupled, server).run(
        *build_with_model("--split-model", "mystery", "--max-llm-usd", "1")
    )
    assert code == 2
    assert "split.prices has no price for the model 'mystery'" in errors
    assert API_KEY not in output + errors
    assert server.counters()["requests"] == {}
