"""A page: a template of this folder, with what stands on all of them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from deploy.box.report import NOTICE

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
PAGES = {"/": "Studies", "/failures": "Failures", "/throughput": "Throughput", "/drift": "Drift", "/release": "Release"}

#: Results in words.
KINDS = {"sr": "report (SR)", "sc": "picture (SC)"}


def render(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """Fill in a template; `title` is one of the values."""
    box = request.app.state.box
    known = request.scope["state"]["actor"] is not None
    content = _TEMPLATES.get_template(template).render(
        pages=PAGES,
        path=request.scope["path"],
        actor=request.scope["state"]["actor"],
        name=box.settings.receive.ae_title,
        notice=NOTICE,
        kinds=KINDS,
        troubles=[check for check in box.health.ready() if not check.passed] if known else [],
        failures=box.failures() if known else 0,
        **values,
    )
    return HTMLResponse(content, status)


def moment(stamp: str | datetime) -> str:
    """A time in UTC to the second, short."""
    time = stamp if isinstance(stamp, datetime) else datetime.fromisoformat(stamp)
    return f"{time:%Y-%m-%d %H:%M:%S}"


def span(seconds: float) -> str:
    """A duration in words."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"


def sentence(words: str) -> str:
    """With its first letter as a sentence has it; errors begin in the midst of one."""
    return words[:1].upper() + words[1:]


_TEMPLATES.filters["sentence"] = sentence
_TEMPLATES.filters["moment"] = moment
_TEMPLATES.filters["span"] = span
