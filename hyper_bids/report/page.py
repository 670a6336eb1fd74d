"""Templates to HTML. Everything from outside is escaped; nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def render(template: str, **content: Any) -> str:
    """Fill ``participant.html``, ``group.html`` or ``evaluate.html``; an unknown name in a template is an error.

    The page's one script is allowed by its digest alone: nothing else that may get into the page is run.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (FOLDER / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        script=Markup(script), script_digest=Markup(f"sha256-{digest}"), **content
    )
