import json
import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from huggingface_hub import constants

from coupled_core.errors import ModelUnavailableError
from coupled_core.generation.model_files import (
    KNOWN_MODELS,
    find_model_files,
    hash_folder,
    require_weights,
)


@pytest.fixture
def copied(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "copy"))


def test_a_folder_tells_its_defaults_without_weights(copied: Path) -> None:
    for weights in copied.rglob("*.safetensors"):
        weights.unlink()
    files = find_model_files(str(copied), None)
    assert (files.size_px, files.size_multiple_px, files.max_sequence_length) == (32, 4, 32)
    assert files.known.license == "unknown"
    assert (files.family.name, files.guidance) == ("FLUX.1", "none")


def test_a_copy_has_the_same_revision_until_a_weight_changes(
    copied: Path, model_folder: Path
) -> None:
    assert hash_folder(copied) == hash_folder(model_folder)
    weights = next(copied.glob("transformer/*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert hash_folder(copied) != hash_folder(model_folder)


def test_a_name_that_is_neither_folder_nor_hub_id_says_what_to_give() -> None:
    with pytest.raises(ModelUnavailableError, match="no such folder, and it is not a hub id"):
        find_model_files("./models/none", None)


def test_a_folder_that_is_no_pipeline_says_which_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match=r"not a pipeline .*model_index\.json"):
        find_model_files(str(tmp_path), None)


def test_a_pipeline_of_another_kind_is_refused_by_name(copied: Path) -> None:
    index = json.loads((copied / "model_index.json").read_text())
    (copied / "model_index.json").write_text(
        json.dumps({**index, "_class_name": "FluxFillPipeline"})
    )
    with pytest.raises(
        ModelUnavailableError,
        match=r"is a FluxFillPipeline, which .* expected FLUX\.1 \(FluxPipeline\), FLUX\.2",
    ):
        find_model_files(str(copied), None)


def test_a_model_of_another_class_that_is_known_by_name_is_refused_without_a_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelUnavailableError, match=r"of a class that cannot be coupled yet: .*F"):
        find_model_files("Tongyi-MAI/Z-Image-Turbo", None)


class _Nothing(BaseHTTPRequestHandler):
    """Answers as the hub does where a repository holds no such file."""

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()

    def log_message(self, *_: object) -> None:
        pass


def test_a_repository_that_is_no_pipeline_says_so_and_not_to_check_the_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Nothing)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    address = f"http://127.0.0.1:{server.server_port}"
    for name in ("ENDPOINT", "HUGGINGFACE_CO_URL_TEMPLATE"):
        template = "/{repo_id}/resolve/{revision}/{filename}" if "URL" in name else ""
        monkeypatch.setattr(constants, name, address + template)
    try:
        with pytest.raises(ModelUnavailableError, match=r"holds no model_index\.json.*gguf:FILE"):
            find_model_files("me/FLUX.2-klein-4B-GGUF", None)
    finally:
        server.shutdown()
        server.server_close()


_DEV = "black-forest-labs/FLUX.1-dev"
_SCHNELL = "black-forest-labs/FLUX.1-schnell"


@pytest.mark.parametrize(
    ("index", "transformer", "card", "origin"),
    [
        (_DEV, None, "", _DEV),
        (None, "/home/me/hub/models--black-forest-labs--FLUX.1-dev/snapshots/a/b", "", _DEV),
        (None, None, f"---\nbase_model: {_DEV}\n---\n# Mine", _DEV),
        (None, None, f"---\nbase_model:\n- {_DEV}\nlicense: other\n"
         "license_name: flux-1-dev-non-commercial-license\n---\n", _DEV),
        (_SCHNELL, None, "---\nlicense: apache-2.0\n---\n", _SCHNELL),
        (_SCHNELL, None, "---\nlicense: cc-by-nc-4.0\n---\n", None),
        # A fine-tune may be under any terms.
        (_SCHNELL, None, "", None),
        (None, None, f"---\nbase_model: {_SCHNELL}\n---\n", None),
        (_DEV, None, "---\ntags: [a---b]\nlicense: mit\n---\n", None),
        (_DEV, None, "---\nbase_model: 3\ndate: 2024-13-45\n---\n", _DEV),
        (_DEV, None, "---\nbase_model: [3, null]\n---\n", _DEV),
        (_SCHNELL, _DEV, "", None),
        ("../checkpoints/flux-dev", None, "no header", None),
        (_DEV + "-of-mine", None, "---\n: [\n---\n", None),
    ],
)  # fmt: skip
def test_a_licence_is_that_of_the_model_that_the_files_record_and_unknown_where_they_disagree(
    index: str | None, transformer: str | None, card: str, origin: str | None, copied: Path
) -> None:
    for name, path in (("model_index.json", index), ("transformer/config.json", transformer)):
        config = json.loads((copied / name).read_text())
        config.pop("_name_or_path", None)
        config |= {"_name_or_path": path} if path else {}
        (copied / name).write_text(json.dumps(config))
    if card:
        (copied / "README.md").write_text(card)
    known = find_model_files(str(copied), None).known
    expected = KNOWN_MODELS[origin] if origin else None
    assert known.license == (expected.license if expected else "unknown")
    assert known.training == (expected.training if expected else "unknown")


def test_a_hub_model_that_cannot_be_fetched_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ModelUnavailableError, match=r"not in the local cache.*hf auth login"
    ) as failure:
        find_model_files("black-forest-labs/FLUX.1-dev", None)
    assert "pass a folder" in str(failure.value)


def test_the_licence_of_flux_dev_travels_with_its_limits() -> None:
    dev = KNOWN_MODELS["black-forest-labs/FLUX.1-dev"]
    assert "Non-Commercial" in dev.license
    assert "competes with FLUX.1 [dev]" in dev.use_restrictions
    assert KNOWN_MODELS["black-forest-labs/FLUX.1-schnell"].license == "Apache-2.0"


@pytest.mark.parametrize("name", ["tokenizer", "tokenizer_2"])
def test_a_folder_without_a_vocabulary_is_refused_before_anything_loads(
    copied: Path, name: str
) -> None:
    for file in (copied / name).iterdir():
        if file.name != "tokenizer_config.json":
            file.unlink()
    with pytest.raises(ModelUnavailableError, match=f"{name} holds no vocabulary"):
        find_model_files(str(copied), None)


@pytest.mark.parametrize(
    ("name", "files"),
    [("tokenizer", ("vocab.json", "merges.txt")), ("tokenizer_2", ("spiece.model",))],
)
def test_the_files_of_published_tokenizers_will_do(
    copied: Path, name: str, files: tuple[str, ...]
) -> None:
    (copied / name / "tokenizer.json").unlink()
    for file in files:
        (copied / name / file).touch()
    assert find_model_files(str(copied), None).folder == copied


@pytest.mark.parametrize(
    "name",
    [
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder_2/model.safetensors",
        "transformer/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ],
)
@pytest.mark.parametrize("is_there", [False, True])
def test_a_missing_or_damaged_file_of_the_pipeline_is_named(
    copied: Path, name: str, is_there: bool
) -> None:
    require_weights(str(copied))
    (copied / name).unlink()
    if is_there:
        (copied / name).write_bytes(b"")
    said = "damaged" if is_there else "missing"
    with pytest.raises(ModelUnavailableError, match=rf"{name.split('/')[0]}/.* is {said}"):
        require_weights(str(copied))


def test_a_lost_shard_of_the_weights_is_named(copied: Path) -> None:
    part = copied / "transformer"
    weights = {"weight_map": {"a": "diffusion_pytorch_model-00002-of-00002.safetensors"}}
    (part / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(weights))
    with pytest.raises(ModelUnavailableError, match=r"00002-of-00002\.safetensors is missing"):
        require_weights(str(copied))


@pytest.mark.parametrize("name", ["tokenizer", "tokenizer_2"])
def test_a_tokenizer_that_does_not_say_how_much_it_reads_is_refused(
    copied: Path, name: str
) -> None:
    (copied / name / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ModelUnavailableError, match=r"says \w+_max_length wrongly"):
        find_model_files(str(copied), None)
