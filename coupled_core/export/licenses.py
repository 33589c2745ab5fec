"""Licences by the names that catalogues know them by."""

from collections.abc import Mapping

from coupled_core.export.plan import DatasetFacts

_HUB_IDS: Mapping[str, str] = {
    "apache-2.0": "apache-2.0",
    "mit": "mit",
    "cc-by-4.0": "cc-by-4.0",
    "cc0-1.0": "cc0-1.0",
}
_URLS: Mapping[str, str] = {
    "apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "mit": "https://spdx.org/licenses/MIT",
    "cc-by-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "cc0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "flux.1 [dev] non-commercial license": (
        "https://huggingface.co/black-forest-labs/FLUX.1-dev/blob/main/LICENSE.md"
    ),
}


def license_names(facts: DatasetFacts) -> list[str]:
    """Return every licence that some exported pair is under."""
    return sorted({name for _, name, _ in facts.sources})


def hub_license(facts: DatasetFacts) -> str:
    """Return the Hub's id of the one licence of all pairs; "other" when there is none such."""
    names = license_names(facts)
    return _HUB_IDS.get(names[0].lower(), "other") if len(names) == 1 else "other"


def license_url(name: str) -> str | None:
    """Return where a licence can be read; None: we do not know."""
    return _URLS.get(name.lower())
