"""Whether the studies that come are still like those of the release: `pipeline.monitoring`, for the page."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from deploy.box.releases import Releases
from deploy.box.web import page
from pipeline.errors import PipelineError
from pipeline.monitoring.summary import ADVICE, against_release, by_quantity, in_words

#: Reports come one a study; comparing all of them takes seconds.
EVERY_S = 300.0


class Drift:
    """The last comparison; for several threads, of which one works and the others wait for it."""

    def __init__(self, releases: Releases, reports: Path) -> None:
        self._releases, self._reports = releases, reports
        self._lock, self._until = threading.Lock(), 0.0
        self._found: dict[str, Any] | None = None
        self._reason, self._time = "", datetime.now(UTC)

    def latest(self) -> tuple[dict[str, Any] | None, str, datetime]:
        """What monitoring found, or None and the reason; and when."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._compare()
                self._until, self._time = time.monotonic() + EVERY_S, datetime.now(UTC)
            return self._found, self._reason, self._time

    def _compare(self) -> None:
        if not any(self._reports.glob("*.jsonl")):
            self._found, self._reason = None, "No study was reported yet: nothing can be said of drift."
            return
        try:
            answering = self._releases.path(self._releases.chosen().answering)
            self._found, self._reason = against_release(answering, self._reports), ""
        except PipelineError as error:
            self._found, self._reason = None, f"Drift cannot be told: {error}"


def shown(request: Request) -> Response:
    """The page."""
    found, reason, when = request.app.state.box.drift.latest()
    return page.render(
        request,
        "drift.html.j2",
        title="Drift",
        found=found,
        reason=reason,
        time=when,
        every=EVERY_S,
        rows=_rows(found) if found else [],
        alarms=_alarms(found) if found else [],
    )


def _rows(found: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "monitor": monitor["monitor"],
            "name": one["name"],
            "evidence": f"{one['evidence']:,.0f}" if one["evidence"] >= 10 else f"{one['evidence']:.1f}",
            "limit": f"{one['limit']:,.0f}",
            "reference": in_words(one["reference"]),
            "lately": in_words(one["lately"]),
        }
        for monitor in found["monitors"]
        for one in monitor["quantities"]
    ]


def _alarms(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The first of each quantity."""
    return [
        {**first, "monitor": monitor["monitor"], "advice": ADVICE[monitor["monitor"]]}
        for monitor in found["monitors"]
        for first, *_ in by_quantity(monitor["alarms"])
    ]
