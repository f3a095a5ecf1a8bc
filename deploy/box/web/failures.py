"""What did not go well, and the buttons that try it again."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from deploy.box import worklist
from deploy.box.quarantine import latest
from deploy.box.web import page
from deploy.box.web.studies import row
from pipeline.errors import ConfigError

_ROWS, _REFUSED = 100, 20


def shown(request: Request) -> Response:
    """The page."""
    box = request.app.state.box
    failed = box.overview.latest("failed", _ROWS)
    count = box.overview.states().get("failed", 0)
    return page.render(
        request,
        "failures.html.j2",
        title="Failures",
        failed=[row(each, box.running.manifest) for each in failed],
        failed_count=count,
        more=count > len(failed),
        refused=latest(box.settings.state / "quarantine", _REFUSED),
    )


def again(request: Request) -> Response:
    """Have a study answered once more."""
    box = request.app.state.box
    number = request.path_params["study"]
    try:
        worklist.again(box.journal, number)
    except ConfigError as error:
        return PlainTextResponse(str(error), 409)
    box.watch.asked_again(request.scope["state"]["actor"].name, f"study {number}")
    return RedirectResponse("/failures", 303)
