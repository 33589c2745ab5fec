"""The files of `infra/` are what the tools that read them expect; no daemon or cloud is asked."""

import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import hcl2
import pytest
import yaml
from pydantic import TypeAdapter
from rich.console import Console

from coupled_core.storage import s3

ROOT = Path(__file__).parent.parent.parent
INFRA = ROOT / "infra"
MADE_UP = "made-up-for-a-test"
SECRETS = ("POSTGRES_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
ACTIONS = {
    "abort_multipart_upload": {"s3:AbortMultipartUpload"},
    "delete_object": {"s3:DeleteObject"},
    "download_file": {"s3:GetObject"},
    "get_object": {"s3:GetObject"},
    "head_object": {"s3:GetObject"},
    "list_multipart_uploads": {"s3:ListBucketMultipartUploads"},
    # without the right to list, S3 says of what is missing that it is forbidden
    "list_objects_v2": {"s3:ListBucket"},
    "put_object": {"s3:PutObject"},
    "upload_file": {"s3:PutObject", "s3:AbortMultipartUpload"},
}
"""What S3 asks of those who call an operation: AWS's service authorization reference."""
PREFECT: dict[str, Any] = yaml.safe_load((INFRA / "prefect.yaml").read_text())
DEPLOYMENTS = {f"{each['entrypoint']} {each['name']}": each for each in PREFECT["deployments"]}
TEXTS = [
    path
    for path in sorted(INFRA.rglob("*"))
    if path.suffix in {".yaml", ".yml", ".tf", ".json", ".sbatch", ".example"}
    or path.name == "Dockerfile"
]


def _run(program: str, *arguments: str, **environment: str) -> str:
    """Run a checker and return what it writes; fail with that where it objects."""
    folder = str(Path(sys.executable).parent)
    found = shutil.which(program, path=f"{folder}{os.pathsep}{os.environ['PATH']}")
    assert found, f"{program} is missing: install the test extra"
    done = subprocess.run(
        [found, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _compose(*files: str, **environment: str) -> dict[str, Any]:
    named = [word for name in files for word in ("-f", str(INFRA / name))]
    given = ["--env-file", str(INFRA / "env.example"), *named, "config", "--format", "json"]
    composition: dict[str, Any] = json.loads(_run("docker-compose", *given, **environment))
    return composition


@pytest.fixture(scope="module")
def composition() -> dict[str, Any]:
    return _compose("compose.yaml", "compose.gpu.yaml", **dict.fromkeys(SECRETS, MADE_UP))


def _render(overlay: str) -> list[dict[str, Any]]:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed here")
    return list(
        yaml.safe_load_all(_run("kubectl", "kustomize", str(INFRA / "kubernetes" / overlay)))
    )


def _validate(tmp_path: Path, objects: list[dict[str, Any]]) -> None:
    path = tmp_path / "objects.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    _run("kubernetes-validate", "-k", "1.33", "--strict", str(path))


def _fill(template: Any, values: dict[str, Any]) -> Any:
    """Put values in a job template as Prefect does: a lone placeholder becomes its value."""
    if isinstance(template, dict):
        return {key: _fill(each, values) for key, each in template.items()}
    if isinstance(template, list):
        return [_fill(each, values) for each in template]
    if isinstance(template, str):
        if whole := re.fullmatch(r"\{\{ (\w+) \}\}", template):
            return values[whole[1]]
        return re.sub(r"\{\{ (\w+) \}\}", lambda found: str(values[found[1]]), template)
    return template


def _pool(kind: str) -> dict[str, Any]:
    pool: dict[str, Any] = yaml.safe_load((INFRA / "pools" / f"{kind}.yaml").read_text())
    return pool


def _job() -> dict[str, Any]:
    pool = _pool("kubernetes")
    given = {"name": "night", "labels": {}, "command": ["prefect", "flow-run", "execute"]}
    defaults = {
        k: v["default"] for k, v in pool["variables"]["properties"].items() if "default" in v
    }
    env = [{"name": name, "value": value} for name, value in defaults["env"].items()]
    manifest = pool["job_configuration"]["job_manifest"]
    job: dict[str, Any] = _fill(manifest, {**defaults, **given, "env": env})
    return job


def test_the_dockerfile_pleases_its_linter() -> None:
    _run("hadolint", str(INFRA / "image" / "Dockerfile"))


def test_the_image_is_not_roots_and_pinned_and_holds_no_mirror() -> None:
    text = (INFRA / "image" / "Dockerfile").read_text()
    assert "USER 10001:10001" in text
    assert "pip install --no-deps --require-hashes -r infra/requirements.txt" in text
    assert "pip install -c infra/constraints.txt" in text
    assert "--mount=type=secret" in text and "COPY pip.conf" not in text


def test_the_image_for_a_cpu_holds_the_same_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [named] = re.findall(r'"\.\[(.+)\]"', (INFRA / "image" / "Dockerfile").read_text())
    assert named.split(",") == sorted({*project["optional-dependencies"]} - {"test"})


def test_the_image_gets_what_the_ignore_file_lets_through() -> None:
    allowed = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    copied = re.findall(
        r"^COPY (?!--from)(.+) \S+$", (INFRA / "image" / "Dockerfile").read_text(), re.M
    )
    sources = {source.split("/")[0] for line in copied for source in line.split()}
    assert sources == allowed and all((ROOT / each).exists() for each in allowed)


def test_the_composition_resolves(composition: dict[str, Any]) -> None:
    services = {"postgres", "server", "s3", "set-up", "worker"}
    assert set(composition["services"]) == services
    for name in services - {"set-up"}:
        assert "healthcheck" in composition["services"][name], name
        assert composition["services"][name]["deploy"]["resources"]["limits"], name
    assert composition["services"]["server"]["environment"]["PREFECT_SERVER_UI_API_URL"]


@pytest.mark.parametrize("name", SECRETS)
def test_the_composition_does_not_start_without_a_secret(name: str) -> None:
    given = {**dict.fromkeys(SECRETS, MADE_UP), name: ""}
    with pytest.raises(AssertionError, match=f"{name}.*as in env.example"):
        _compose("compose.yaml", **given)


def test_only_loopback_reaches_a_server_without_a_login(composition: dict[str, Any]) -> None:
    published = [
        port for each in composition["services"].values() for port in each.get("ports", ())
    ]
    assert published and {port["host_ip"] for port in published} == {"127.0.0.1"}


def test_images_have_versions(composition: dict[str, Any]) -> None:
    found = [each["image"] for each in composition["services"].values()]
    for path in TEXTS:
        found += re.findall(r"\bimage: \"?([\w./-]+:[\w.-]+)", path.read_text())
    assert len(found) > 5
    assert [each for each in found if not re.search(r":(\d[\w.-]+|dev)$", each)] == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(INFRA)))
def test_no_file_holds_what_looks_like_a_secret(path: Path) -> None:
    text = path.read_text()
    assert not re.search(
        r"AKIA[0-9A-Z]{16}|sk-ant-|hf_[A-Za-z0-9]{20}|BEGIN [A-Z ]*PRIVATE KEY", text
    )
    given = re.findall(
        r"(?i)^\s*\w*(?:password|secret_access_key|api_key)\w*\s*[:=][ ]*(\S+)", text, re.M
    )
    assert [value for value in given if not value.startswith(("${", "{"))] == []


@pytest.mark.parametrize("overlay", ["server", "overlays/cpu", "overlays/gpu"])
def test_kubernetes_accepts_what_kustomize_renders(overlay: str, tmp_path: Path) -> None:
    objects = _render(overlay)
    _validate(tmp_path, objects)
    for each in objects:
        if each["kind"] == "Deployment":
            _assert_is_confined(each["spec"]["template"]["spec"])


def test_kubernetes_accepts_the_job_of_a_run(tmp_path: Path) -> None:
    job = _job()
    job["metadata"]["name"] = job["metadata"].pop("generateName") + "1"
    _validate(tmp_path, [job])
    pod = job["spec"]["template"]["spec"]
    _assert_is_confined(pod)
    assert job["spec"]["backoffLimit"] == 0
    assert pod["terminationGracePeriodSeconds"] >= 120
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    # a toleration without a key tolerates everything, a node that is being drained too
    assert pod["tolerations"] and all(each["key"] for each in pod["tolerations"])


def _assert_is_confined(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


@pytest.mark.parametrize("kind", ["process", "docker", "kubernetes"])
def test_a_job_template_declares_each_of_its_variables(kind: str) -> None:
    pool = _pool(kind)
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(pool["job_configuration"])))
    assert used == set(pool["variables"]["properties"])
    # without heartbeats every run would be taken for a zombie, or none
    heartbeats = pool["variables"]["properties"]["env"]["default"]
    assert heartbeats == {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}


@pytest.mark.parametrize("path", sorted((INFRA / "terraform").glob("*.tf")), ids=lambda p: p.name)
def test_terraform_files_parse(path: Path) -> None:
    with path.open() as file:
        assert hcl2.load(file)


def _allowed(policy: str) -> set[str]:
    statements = json.loads((INFRA / "terraform" / f"{policy}.json").read_text())["Statement"]
    assert all(each["Effect"] == "Allow" for each in statements)
    return {action for each in statements for action in each["Action"]}


def test_the_writer_may_do_what_the_store_does_and_nothing_else() -> None:
    source = inspect.getsource(s3)
    called = set(re.findall(r"_client\.(\w+_\w+)\(", source)) - {"get_paginator"}
    called |= set(re.findall(r"get_paginator\(\"(\w+)\"\)", source))
    assert called == set(ACTIONS)
    assert _allowed("writer") == set().union(*ACTIONS.values())


def test_the_reader_may_only_read() -> None:
    assert _allowed("reader") == {"s3:GetObject", "s3:ListBucket"}


def test_shell_scripts_please_their_linter() -> None:
    _run("shellcheck", str(INFRA / "slurm" / "build.sbatch"), str(ROOT / ".ci" / "run"))


def test_the_dashboard_asks_for_metrics_that_are_counted() -> None:
    """Prometheus' names: dots become underscores, units and `total` are appended."""
    dashboard = json.loads((INFRA / "grafana" / "dashboard.json").read_text())
    source = (ROOT / "tasks" / "metrics.py").read_text()
    made = re.findall(r"create_(\w+)\(\s*\"([\w.]+)\",\s*\"([^\"]+)\"", source)
    exported = set()
    for kind, name, unit in made:
        base = name.replace(".", "_") + {"s": "_seconds", "USD": "_USD"}.get(unit, "")
        exported.add(f"{base}_bucket" if kind == "histogram" else f"{base}_total")
    asked = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    assert set(re.findall(r"coupled_\w+", " ".join(asked))) == exported


def test_prefect_reads_the_deployments() -> None:
    from prefect.cli.deploy._config import _load_deploy_configs_and_actions

    path, console = INFRA / "prefect.yaml", Console(quiet=True)
    configs, actions = _load_deploy_configs_and_actions(path, console=console)
    assert len(configs) == len(DEPLOYMENTS)
    assert "set_working_directory" in str(actions["pull"])


def test_deployments_have_a_queue_that_exists_and_the_codes_version() -> None:
    from infra.set_up import POOL, QUEUES

    for each in DEPLOYMENTS.values():
        assert each["work_pool"]["name"] == POOL
        assert each["work_pool"]["work_queue_name"] in QUEUES
        assert each["version"] == "{{ $COUPLED_REVISION }}"
    assert min(QUEUES, key=lambda name: QUEUES[name]) == "nightly"
    assert max(QUEUES, key=lambda name: QUEUES[name]) == "backfill"


def test_every_schedule_has_a_slug_and_a_time_zone_and_no_two_nights_overlap() -> None:
    for each in DEPLOYMENTS.values():
        for schedule in each.get("schedules", ()):
            assert {"slug", "cron", "timezone"} <= set(schedule)
            assert each["concurrency_limit"]["limit"] == 1
            assert each["concurrency_limit"]["collision_strategy"] in {"ENQUEUE", "CANCEL_NEW"}


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_a_deployment_names_a_flow_without_retries_and_parameters_that_it_has(
    deployment: dict[str, Any],
) -> None:
    path, _, name = deployment["entrypoint"].partition(":")
    flow = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
    given = deployment.get("parameters", {})
    assert set(given) <= set(flow.parameters.properties)
    kinds = get_type_hints(flow.fn)
    for parameter, value in given.items():
        if "{{" not in str(value):  # else it is filled in by the set-up
            TypeAdapter(kinds[parameter]).validate_python(value)
    assert not flow.retries  # beside a limit of a deployment they end Crashed


def _variables(text: str) -> Iterator[str]:
    yield from re.findall(r"\{\{ \$(\w+) \}\}", text)


def test_set_up_asks_for_every_variable_of_the_deployments() -> None:
    from infra.set_up import VARIABLES

    used = set(_variables((INFRA / "prefect.yaml").read_text()))
    assert used == {*VARIABLES, "COUPLED_HOME", "COUPLED_REVISION"}
    example = (INFRA / "env.example").read_text()
    assert all(re.search(rf"^{name}=", example, re.MULTILINE) for name in VARIABLES)
