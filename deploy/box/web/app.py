"""The application: which path is answered by what."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from deploy.box.health import Health, said
from deploy.box.incoming import Incoming
from deploy.box.journal import Journal
from deploy.box.outbox import Outbox
from deploy.box.overview import Overview
from deploy.box.quarantine import Quarantine
from deploy.box.releases import Releases
from deploy.box.settings import Settings
from deploy.box.watch import Watch
from deploy.box.web import drift, failures, login, metrics, release, studies, study, throughput
from deploy.box.web.access import Access, read_token
from deploy.box.web.drift import Drift
from deploy.box.web.guard import Guard
from deploy.box.web.multipart import Limits
from deploy.box.web.release import Running, manifest_of, running
from deploy.box.web.settings import Web
from deploy.box.web.stow import Stow
from pipeline.contract import Manifest

_HERE = Path(__file__).parent
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Box:
    """What the pages show and change; `app.state.box`."""

    settings: Settings
    journal: Journal
    outbox: Outbox
    incoming: Incoming
    quarantine: Quarantine
    watch: Watch
    health: Health
    releases: Releases

    @property
    def running(self) -> Running:
        """The release that answers now."""
        return running(self.releases)

    def manifest(self, sha256: str) -> Manifest | None:
        """Of the release of this hash; None: it is not kept here any more."""
        return manifest_of(self.releases, sha256)

    @cached_property
    def overview(self) -> Overview:
        """Of the journal, without the lock that receiving needs."""
        return Overview(self.settings.state)

    @cached_property
    def drift(self) -> Drift:
        """Of what the box reported."""
        return Drift(self.releases, self.settings.state / "reports")

    def failures(self) -> int:
        """How much there is that somebody should look at."""
        return self.overview.states().get("failed", 0) + self.outbox.counts()["dead"]


def application(box: Box, web: Web) -> ASGIApp:
    """Everything that is served.

    Raises:
        ConfigError: the token cannot be used.
    """
    token = None if web.token_file is None else read_token(web.token_file)
    access = Access(token, secure=web.tls is not None)
    box.watch.registry.register(metrics.Standing(box.overview, box.health, box.releases))
    app = Starlette(routes=_routes(_stow(box, web)), exception_handlers={Exception: _unexpected})
    app.state.box, app.state.access = box, access
    more_open = ("/metrics",) if web.metrics_without_token else ()
    return Guard(app, access, box.watch.token_refused, *more_open)


def _stow(box: Box, web: Web) -> Stow:
    limits = Limits(box.settings.receive.instance_mb * 2**20, web.stow_mb * 2**20, web.stow_instances)
    return Stow(box.incoming, box.quarantine, box.watch, limits)


def _routes(stow: Stow) -> list[Route]:
    return [
        Route("/", studies.listed),
        Route("/studies/{study:int}", study.shown),
        Route("/studies/{study:int}/summary.png", study.summary),
        Route("/deliveries/{delivery:int}/again", failures.send_again, methods=["POST"]),
        Route("/studies/{study:int}/again", failures.again, methods=["POST"]),
        Route("/failures", failures.shown),
        Route("/throughput", throughput.shown),
        Route("/drift", drift.shown),
        Route("/release", release.shown),
        Route("/dicomweb/studies", stow.store, methods=["POST"]),
        Route("/dicomweb/studies/{study}", stow.store, methods=["POST"]),
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
