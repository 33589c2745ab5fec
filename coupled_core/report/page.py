"""Self-contained pages: one HTML file with its style, its program and its data inside.

Text that comes from prompts reaches a page as escaped HTML or as JSON that a program puts on the
page as text. Should either ever fail, the page's own policy still forbids every script but ours,
by hash, and every address but data inside the page.
"""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from coupled_core.filters import describe_reason
from coupled_core.report import numbers as formats

_TEMPLATES = Path(__file__).parent / "templates"
_FILTERS = {
    "number": formats.format_number,
    "count": formats.format_count,
    "percent": formats.format_percent,
    "duration": formats.format_duration,
    "money": formats.format_money,
    "bytes": formats.format_bytes,
    "meaning": describe_reason,
}


def render_page(
    template: str, styles: tuple[str, ...], scripts: tuple[str, ...], values: Mapping[str, Any]
) -> str:
    """Return a page.

    Args:
        template: File in `templates/`; it places `style`, `script` and `policy`.
        styles: CSS files in `templates/`, in order.
        scripts: JavaScript files there, in order; they share one scope of their own.
        values: What the template shows. Everything in it is escaped.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS)
    environment.policies["json.dumps_kwargs"] = {
        "ensure_ascii": False,
        "separators": (",", ":"),
        "allow_nan": False,
    }
    style = "".join(_read(name) for name in styles)
    script = '"use strict";(() => {' + "".join(_read(name) for name in scripts) + "})();"
    # Our own files alone are marked as safe; the policy has hashes of the very same texts.
    return environment.get_template(template).render(
        **values, style=Markup(style), script=Markup(script), policy=_policy(style, script)
    )


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    return (
        "default-src 'none'; img-src data:; "
        f"style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
