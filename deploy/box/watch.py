"""What happens in the box, as it happens: counted for Prometheus, and kept for a day for the page.

Counts begin anew when the box starts, as is usual there. None of them is of one study or patient; who that was
is in the audit trail alone.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Histogram

from deploy.box.audit_messages import Actor
from deploy.box.journal import Instance
from deploy.box.trail import Trail

#: Seconds from the last instance to the answer; a quiet time of a minute lies in it.
_BUCKETS = (5.0, 10.0, 20.0, 40.0, 60.0, 75.0, 90.0, 120.0, 180.0, 300.0, 600.0, 1_800.0, 3_600.0)
#: Answers of which times are kept, at most.
_KEPT, _KEPT_H = 20_000, 24

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settled:
    """When a study was answered, or given up; and seconds since its last instance."""

    time: datetime
    seconds: float
    answered: bool


class Watch:
    """For several threads."""

    def __init__(self, trail: Trail | None = None) -> None:
        """`trail`: the audit trail; None: there is none."""
        self.trail = trail or Trail(None, "")
        self.began = datetime.now(UTC)
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry, namespace="box")
        self._received = counter("instances_received", "Instances that were kept", ["by"])
        self._refused = counter("instances_refused", "Instances that were not kept, by status", ["by", "status"])
        self._associations = counter("associations", "Associations that were asked for", ["outcome"])
        self._turned_away = counter("tokens_refused", "Requests and logins with a wrong token")
        self._failed = counter("studies_failed", "Studies that were given up")
        self._lost = counter("worker_restarts", "Times that the worker's process was lost")
        self._seconds = Histogram(
            "answer_seconds", "From last instance to answer", namespace="box", buckets=_BUCKETS, registry=self.registry
        )
        self._settled, self._lock = deque[Settled](maxlen=_KEPT), threading.Lock()
        self._trouble: str | None = "the worker has not opened the release yet"

    def received(self, by: str, transfer: Hashable, actor: Actor, instance: Instance, content: bytes) -> None:
        """An instance was kept.

        Args:
            by: `dimse` or `stow`.
            transfer: the association or request that brought it, which `trail.ended` ends.
            actor: who sent it.
            instance, content: what was kept.
        """
        self._received.labels(by).inc()
        self.trail.kept(transfer, actor, instance, content)

    def refused(self, by: str, status: int) -> None:
        """An instance was answered with a failure (PS3.4, table B.2-1)."""
        self._refused.labels(by, f"{status:04X}").inc()

    def association(self, outcome: str) -> None:
        """`accepted` or `aborted`."""
        self._associations.labels(outcome).inc()

    def turned_away(self, address: str, title: str) -> None:
        """An association was rejected, or a connection not taken up.

        Args:
            address: from which.
            title: the calling AE title; empty where nothing was said yet.
        """
        self._associations.labels("rejected").inc()
        _LOG.warning("an association was rejected: %s from %s is no sender", title or "a connection", address)
        self.trail.refused(Actor("association", title, address), "an association that is not allowed")

    def no_room(self, title: str) -> None:
        """An association was rejected, as there are as many as the settings allow; the sender may try again."""
        self._associations.labels("rejected").inc()
        _LOG.warning("an association of %s was rejected: there are as many as `receive.associations` allows", title)

    def token_refused(self, address: str) -> None:
        """A wrong one was shown, from this address."""
        self._turned_away.inc()
        _LOG.warning("a wrong token was shown from %s", address)
        self.trail.refused(Actor("nothing", "", address), "a wrong token")

    def logged_in(self, address: str, right: bool) -> None:
        """The form of the page was given a token."""
        self.trail.logged_in(Actor("session", "token", address), right)
        if right:
            _LOG.info("a session of the page began from %s", address)
        else:
            self._turned_away.inc()
            _LOG.warning("a wrong token was given to the page from %s", address)

    def asked_again(self, what: str) -> None:
        """Somebody had a study answered, or a result sent, once more; `what` names it by its number."""
        _LOG.info("%s is tried again, as somebody asked", what)

    def settled(self, last_received: str, answered: bool, now: datetime) -> None:
        """A study was answered, or given up.

        Args:
            last_received: UTC, ISO 8601.
            answered: else given up.
            now: in UTC.
        """
        seconds = max(0.0, (now - datetime.fromisoformat(last_received)).total_seconds())
        if answered:
            self._seconds.observe(seconds)
        else:
            self._failed.inc()
        with self._lock:
            self._settled.append(Settled(now, seconds, answered))

    def worker(self, trouble: str | None) -> None:
        """Whether it could be asked; if not, why."""
        self._trouble = trouble

    def worker_lost(self) -> None:
        """Its process ended in the midst of a study."""
        self._lost.inc()

    @property
    def worker_trouble(self) -> str | None:
        """Why the worker could not be asked when it last was; None: it could."""
        return self._trouble

    def lately(self) -> list[Settled]:
        """Of the last 24 hours, the oldest first."""
        since = datetime.now(UTC) - timedelta(hours=_KEPT_H)
        with self._lock:
            return [one for one in self._settled if one.time > since]
