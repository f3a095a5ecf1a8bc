"""What did not go well, and the buttons that try it again."""

from __future__ import annotations

from urllib.parse import urlsplit

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
        failed=[row(each, box.manifest(each.study.release_sha256)) for each in failed],
        failed_count=count,
        dead=box.outbox.deliveries("dead")[-_ROWS:],
        waiting=[each for each in box.outbox.deliveries("queued") if each.tries][-_ROWS:],
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
    box.watch.asked_again(f"study {number}")
    return _back(request)


def send_again(request: Request) -> Response:
    """Have a result sent once more."""
    box = request.app.state.box
    number = request.path_params["delivery"]
    try:
        box.outbox.replay(number)
    except ConfigError as error:
        return PlainTextResponse(str(error), 409)
    box.watch.asked_again(f"delivery {number}")
    return _back(request)


def _back(request: Request) -> Response:
    """To the page whose button it was."""
    came = urlsplit(request.headers.get("referer", "")).path
    return RedirectResponse(came if came.startswith("/studies/") else "/failures", 303)
