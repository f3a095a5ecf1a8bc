"""Delivers results to one destination, again and again until each is there or given up."""

from __future__ import annotations

import logging
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from pydicom.uid import generate_uid

from deploy.box.commitment import CommitmentScu
from deploy.box.delivery import Delivery, Outcome, State
from deploy.box.destinations import Destination
from deploy.box.journal import stamp
from deploy.box.outbox import Outbox
from deploy.box.trail import Trail
from pipeline.files import sha256_file

#: Until it goes on after the disk, or want of memory, stopped it.
MACHINE_S = 30.0
#: First digit of statuses that say that the object was stored, though not as it was sent (PS3.7, annex C.4).
WARNING = 0xB

_LOG = logging.getLogger(__name__)


class Channel(Protocol):
    """A way to a destination."""

    def send(
        self, deliveries: Sequence[Delivery], is_due: Callable[[Delivery], bool]
    ) -> Iterator[tuple[Delivery, Outcome]]:
        """What became of each that was tried; those that were not come again.

        Args:
            deliveries: that were due when they were read.
            is_due: whether one still is, asked when its turn comes.
        """
        ...


class Sending:
    """Looks for what is due to one destination, and moves each delivery on by what becomes of it."""

    def __init__(
        self,
        outbox: Outbox,
        destination: Destination,
        channel: Channel,
        commitment: CommitmentScu | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        chance: Callable[[], float] = random.random,
        trail: Trail | None = None,
    ) -> None:
        """Nothing is sent yet.

        Args:
            outbox: where deliveries stand.
            destination: that this is for.
            channel: the way to it.
            commitment: asked of it for what was sent.
            now: the time, in UTC.
            chance: from 0 to 1, how much of half a wait is left out.
            trail: of what was sent to whom; None: there is none.
        """
        self._outbox, self._destination, self._channel = outbox, destination, channel
        self._commitment = commitment
        self._now, self._chance = now, chance
        self._trail = trail or Trail(None, "")

    def run(self, stop: threading.Event, every_s: float = 1.0) -> None:
        """Until `stop` is set; a result that is under way is finished."""
        while not stop.wait(every_s):
            try:
                while self.round(stop) and not stop.is_set():
                    pass
            # Of threads that cannot be started, too.
            except (OSError, RuntimeError, sqlite3.Error) as error:
                _LOG.error("deliveries to %s wait for this machine: %s", self._destination.name, error)
                stop.wait(MACHINE_S)

    def round(self, stop: threading.Event | None = None) -> int:
        """Try what is due now; how many deliveries were tried."""
        for each in self._outbox.uncommitted(self._destination.name, self._time()):
            reason = each.reason or "no report of storage commitment came in time"
            self._failed(each, Outcome(each.last_status, reason), each.tries)
        due = self._outbox.due(self._destination.name, self._time())
        whole = [each for each in due if self._is_whole(each)]
        transaction_uid = "" if self._commitment is None else str(generate_uid(prefix=None))
        done, sent = 0, list[Delivery]()
        for delivery, outcome in self._channel.send(whole, self._outbox.is_due) if whole else ():
            self._settle(delivery, outcome, transaction_uid)
            done += 1
            if outcome.status == 0:
                sent.append(replace(delivery, state="sent", tries=delivery.tries + 1, transaction_uid=transaction_uid))
            if stop is not None and stop.is_set():
                break
        if self._commitment is not None and sent and (reason := self._commitment.ask(transaction_uid, sent)):
            for delivery in sent:
                self._failed(delivery, Outcome(0, reason), delivery.tries)
        return done

    def _is_whole(self, delivery: Delivery) -> bool:
        """Whether the file is what was kept; what is not waits for no retry."""
        path = self._outbox.folder / delivery.file
        if path.is_file() and sha256_file(path) == delivery.sha256:
            return True
        reason = f"its file is missing or damaged; have it made again: `studies --again {delivery.study}`"
        self._outbox.move(delivery, "dead", reason=reason)
        _LOG.error("%s is dead: %s", self._named(delivery), reason)
        return False

    def _settle(self, delivery: Delivery, outcome: Outcome, transaction_uid: str) -> None:
        tried = _tried(outcome, delivery.tries + 1)
        if outcome.status == 0:
            until = self._time(0.0 if self._destination.dicom is None else self._destination.dicom.commitment_s)
            self._arrived(delivery, "sent", tried | {"transaction_uid": transaction_uid, "next_try": until})
            self._trail.sent(self._destination, self._outbox.folder / delivery.file, delivery.sop_class_uid)
            _LOG.info("%s is sent", self._named(delivery))
        elif outcome.status is not None and outcome.status >> 12 == WARNING:
            self._arrived(delivery, "warned", tried)
            self._trail.sent(self._destination, self._outbox.folder / delivery.file, delivery.sop_class_uid)
            _LOG.warning("%s is sent, with a warning: %s", self._named(delivery), outcome.reason)
        else:
            self._failed(delivery, outcome, delivery.tries + 1)

    def _arrived(self, delivery: Delivery, state: State, values: dict[str, str | int | None]) -> None:
        """It is there, also where the study was answered anew at that moment."""
        for before in (delivery, replace(delivery, state="superseded")):
            if self._outbox.move(before, state, **values):
                return

    def _failed(self, delivery: Delivery, outcome: Outcome, tries: int) -> None:
        tried = _tried(outcome, tries)
        retry, now = self._destination.retry, self._now()
        age = now - datetime.fromisoformat(delivery.queued)
        if tries >= retry.tries or age >= timedelta(hours=retry.hours):
            self._outbox.move(delivery, "dead", **tried)
            _LOG.error("%s is given up after %d tries: %s", self._named(delivery), tries, outcome.reason)
            return
        wait = min(retry.longest_s, retry.first_s * 2.0 ** min(tries - 1, 60)) * (1 - self._chance() / 2)
        self._outbox.move(delivery, "queued", next_try=self._time(wait), **tried)
        _LOG.warning("%s failed, the next try is in %.0f s: %s", self._named(delivery), wait, outcome.reason)

    def _named(self, delivery: Delivery) -> str:
        return f"delivery {delivery.delivery} (study {delivery.study}, {delivery.kind}) to {delivery.destination}"

    def _time(self, later_s: float = 0.0) -> str:
        return stamp(self._now() + timedelta(seconds=later_s))


def _tried(outcome: Outcome, tries: int) -> dict[str, str | int | None]:
    return {"tries": tries, "last_status": outcome.status, "reason": outcome.reason, "transaction_uid": ""}
