"""Files of the Hugging Face hub, and what to do where one cannot be had."""

from pathlib import Path

from coupled_core.errors import ModelUnavailableError


def fetch_file(
    model_id: str,
    file: str,
    commit: str | None = None,
    revision: str | None = None,
    what: str = "base model",
) -> Path:
    """Return a file of a hub model, fetched if need be; `revision` is what errors say."""
    from huggingface_hub import errors, hf_hub_download

    where = f"{what} {model_id}" + (f" at revision {revision}" if revision else "")
    try:
        return Path(hf_hub_download(model_id, file, revision=commit))
    except errors.GatedRepoError as exc:
        raise ModelUnavailableError(
            f"{where} is gated. Accept its licence at huggingface.co/{model_id}, then log in "
            "with `hf auth login` or set HF_TOKEN; or pass a folder that holds the model."
        ) from exc
    except errors.RepositoryNotFoundError as exc:
        raise ModelUnavailableError(
            f"{where} does not exist on the hub or is not visible to you. Check the id; for a "
            "private or gated model log in with `hf auth login` or set HF_TOKEN; or pass a folder "
            "that holds the model."
        ) from exc
    except errors.RevisionNotFoundError as exc:
        raise ModelUnavailableError(
            f"{where}: there is no such revision. Check the commit or tag."
        ) from exc
    except errors.RemoteEntryNotFoundError as exc:
        remedy = (
            "It is no pipeline in the diffusers format. A GGUF file goes with --quantize "
            "gguf:FILE, a single .safetensors file with --transformer FILE, and --base-model is "
            "the model that it was made of."
        )
        if what == "LoRA":
            remedy = f"Name another file of it as {model_id}/FILE."
        raise ModelUnavailableError(f"{where} holds no {file}. {remedy}") from exc
    except (errors.EntryNotFoundError, errors.HFValidationError, OSError) as exc:
        instead = (
            "or pass a folder that holds the model. To plan, its configuration is enough, a few "
            f"MB: where there is a network, type hf download {model_id} --include '*.json' '*.txt' "
            "'*.jinja' '*.model'."
        )
        if what == "LoRA":
            instead = f"name another file of it as {model_id}/FILE, or pass a file."
        raise ModelUnavailableError(
            f"{where} is not in the local cache and cannot be fetched: "
            f"{str(exc).splitlines()[0]} Check the network (and that HF_HUB_OFFLINE is not set), "
            f"{instead} A gated model also wants its licence accepted at "
            f"huggingface.co/{model_id}, and `hf auth login` or HF_TOKEN."
        ) from exc
