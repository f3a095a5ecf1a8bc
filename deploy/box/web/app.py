"""The application: which path is answered by what."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from deploy.box.health import Health, said
from deploy.box.journal import Journal
from deploy.box.overview import Overview
from deploy.box.settings import Settings
from deploy.box.watch import Watch
from deploy.box.web import drift, failures, login, metrics, release, studies, throughput
from deploy.box.web.access import Access, read_token
from deploy.box.web.drift import Drift
from deploy.box.web.guard import Guard
from deploy.box.web.release import Running
from deploy.box.web.settings import Web

_HERE = Path(__file__).parent
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Box:
    """What the pages show and change; `app.state.box`."""

    settings: Settings
    journal: Journal
    overview: Overview
    watch: Watch
    health: Health
    running: Running
    access: Access
    drift: Drift

    def failures(self) -> int:
        """How much of it somebody should look at."""
        return self.overview.states().get("failed", 0)


def application(
    settings: Settings, web: Web, journal: Journal, watch: Watch, health: Health, running: Running
) -> ASGIApp:
    """Everything that is served.

    Raises:
        ConfigError: the token cannot be used.
    """
    overview = Overview(settings.state)
    token = None if web.token_file is None else read_token(web.token_file)
    access = Access(token, secure=web.tls is not None)
    watch.registry.register(metrics.Standing(overview, health, running))
    app = Starlette(routes=_routes(), exception_handlers={Exception: _unexpected})
    compared = Drift(settings.release, settings.state / "reports")
    app.state.box = Box(settings, journal, overview, watch, health, running, access, compared)
    more_open = ("/metrics",) if web.metrics_without_token else ()
    return Guard(app, access, watch.token_refused, *more_open)


def _routes() -> list[Route]:
    return [
        Route("/", studies.listed),
        Route("/studies/{study:int}/again", failures.again, methods=["POST"]),
        Route("/failures", failures.shown),
        Route("/throughput", throughput.shown),
        Route("/drift", drift.shown),
        Route("/release", release.shown),
        Route("/health/live", _live),
        Route("/health/ready", _ready),
        Route("/metrics", metrics.metrics),
        Route("/login", login.form),
        Route("/login", login.log_in, methods=["POST"]),
        Route("/logout", login.log_out, methods=["POST"]),
        *(Route(f"/{name}", partial(_file, name)) for name in ("style.css", "refresh.js", "icon.svg")),
    ]


def _file(name: str, _: Request) -> Response:
    return FileResponse(_HERE / name)


def _live(request: Request) -> Response:
    """Whether the process does its work; a supervisor restarts it where not."""
    found = said(request.app.state.box.health.live())
    return JSONResponse(found, 200 if found["ok"] else 503)


def _ready(request: Request) -> Response:
    """Whether studies can be received and answered."""
    found = said(request.app.state.box.health.ready())
    return JSONResponse(found, 200 if found["ok"] else 503)


def _unexpected(_: Request, error: Exception) -> Response:
    """A defect: where it is, and not its words, which may hold what a header said."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    _LOG.error("a request failed: %s in %s, line %s", type(error).__name__, Path(place.filename).name, place.lineno)
    return PlainTextResponse("The box could not answer that; its log says where.", 500)
