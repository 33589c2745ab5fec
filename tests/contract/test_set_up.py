"""What `infra/set_up.py` makes of a real server, and leaves alone the second time."""

from collections.abc import Iterator

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from infra import set_up
from infra.set_up import POOL, set_up_automations, set_up_pool, set_up_queues, wait_for_server


@flow(name="verify-dataset")
def verify() -> None:
    """Stand in for the flow whose deployment the example automation starts."""


@pytest.fixture(scope="module")
def client(prefect_url: str) -> Iterator[SyncPrefectClient]:
    with (
        temporary_settings({PREFECT_API_URL: prefect_url}),
        get_client(sync_client=True) as found,
    ):
        found.create_deployment(found.create_flow(verify), "weekly")
        yield found


def _set_up(client: SyncPrefectClient, pool_type: str = "process") -> list[str]:
    return [
        *set_up_pool(client, pool_type),
        *set_up_queues(client, gpu_runs=4, backfill_runs=1),
        *set_up_automations(client),
    ]


def test_a_second_run_changes_nothing_and_mends_what_was_changed_meanwhile(
    client: SyncPrefectClient,
) -> None:
    assert len(_set_up(client)) == 7  # a pool, four queues, two automations
    assert _set_up(client) == []

    queue = client.read_work_queue_by_name("backfill", work_pool_name=POOL)
    client.update_work_queue(queue.id, priority=1)
    assert _set_up(client) == ["changed queue backfill: priority 4, limit 1"]


def test_an_automation_that_a_person_switched_off_stays_off(client: SyncPrefectClient) -> None:
    _set_up(client)
    [zombies] = client.read_automations_by_name("coupled: crash zombies")
    assert zombies.enabled
    client.pause_automation(zombies.id)
    assert _set_up(client) == []
    [zombies] = client.read_automations_by_name("coupled: crash zombies")
    assert not zombies.enabled


def test_a_pool_of_another_type_is_refused(client: SyncPrefectClient) -> None:
    _set_up(client)
    with pytest.raises(SystemExit, match="expected type kubernetes, got process"):
        _set_up(client, "kubernetes")


def test_a_server_that_does_not_answer_is_waited_for_and_then_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nowhere = "http://127.0.0.1:9/api"
    monkeypatch.setenv("PREFECT_API_URL", nowhere)
    monkeypatch.setattr(set_up, "_MAX_START_SECONDS", 0.0)
    with (
        temporary_settings({PREFECT_API_URL: nowhere}),
        get_client(sync_client=True) as client,
        pytest.raises(SystemExit, match=f"{nowhere} does not answer: "),
    ):
        wait_for_server(client)


def test_a_password_in_the_address_of_a_server_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = "http://somebody:planted@127.0.0.1:9/api"
    monkeypatch.setenv("PREFECT_API_URL", address)
    monkeypatch.setattr(set_up, "_MAX_START_SECONDS", 0.0)
    with (
        temporary_settings({PREFECT_API_URL: address}),
        get_client(sync_client=True) as client,
        pytest.raises(SystemExit) as raised,
    ):
        wait_for_server(client)
    assert "does not answer" in str(raised.value) and "planted" not in str(raised.value)
