"""The box as a service: receive, tell when a study is complete, answer it."""

from __future__ import annotations

import fcntl
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

from pynetdicom import evt

from deploy.box import scp
from deploy.box.commitment import CommitmentScu, heard
from deploy.box.destinations import Destination
from deploy.box.incoming import Incoming
from deploy.box.journal import Journal
from deploy.box.outbox import Outbox
from deploy.box.peer import Peer
from deploy.box.quarantine import Quarantine
from deploy.box.releases import Releases
from deploy.box.retention import Forgetting
from deploy.box.sender import Sending
from deploy.box.settings import Settings
from deploy.box.shadow import Shadowing
from deploy.box.store_scu import StoreScu
from deploy.box.stow import StowRs
from deploy.box.studies import Answering
from deploy.box.worker import Limits
from deploy.box.workers import Workers
from pipeline.errors import ConfigError

#: Of refused instances.
_QUARANTINE_BYTES = 2**30

_LOG = logging.getLogger(__name__)


def journal_of(settings: Settings) -> Journal:
    """The journal in the box's state, whose folder is made for nobody else to read.

    Raises:
        ContractError: a later version of the box wrote it.
    """
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Journal(settings.state / "journal.sqlite")


def releases_of(settings: Settings) -> Releases:
    """The releases in the box's state."""
    return Releases(settings.state / "releases", settings.public_key, settings.allow_unsigned)


def serve(settings: Settings) -> None:
    """Until SIGTERM or SIGINT; what is under way is finished then.

    Raises:
        ContractError: the release is not whole or not by the owner of the key.
        ConfigError: the port or a file of TLS cannot be used.
    """
    stop = threading.Event()

    def ask(number: int, _: FrameType | None) -> None:
        _LOG.info("%s: stopping", signal.Signals(number).name)
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with running(settings, stop) as port:
            _LOG.info("receiving as %s at %s:%d", settings.receive.ae_title, settings.receive.address, port)
            stop.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def running(settings: Settings, stop: threading.Event) -> Iterator[int]:
    """Everything that works while the context lasts; gives the port. It sets `stop` in the end.

    Raises:
        ConfigError: see `serve`; or another box is at work in the same state.
    """
    with closing(journal_of(settings)) as journal, _alone(settings.state):
        yield from _running(settings, journal, stop)


def _running(settings: Settings, journal: Journal, stop: threading.Event) -> Iterator[int]:
    incoming = Incoming(settings.state / "incoming", journal, settings.receive.keep_free_mb * 2**20)
    if strays := incoming.sweep():
        _LOG.info("%d files that were never acknowledged are removed", strays)
    limits = Limits(settings.work.memory_mb * 2**20, settings.work.study_s)
    releases = releases_of(settings)
    workers, shadows = Workers(releases, limits), Workers(releases, limits)
    _LOG.info("release %s answers", releases.start(settings.release).answering[:12])
    outbox = _outbox(settings, journal)
    reports = settings.state / "reports"
    answering = Answering(journal, incoming.folder, outbox, reports, workers.current, settings.studies)
    # A destination that is silent keeps no other waiting.
    sending = [_sending(outbox, each, settings.receive.ae_title) for each in settings.send]
    shadowing = Shadowing(journal, incoming.folder, shadows)
    forgetting = Forgetting(journal, incoming.folder, outbox.folder, settings.retention)
    working: list[Answering | Forgetting | Sending | Shadowing] = [answering, shadowing, forgetting, *sending]
    threads = [threading.Thread(target=each.run, args=(stop,), name=type(each).__name__) for each in working]
    quarantine = Quarantine(settings.state / "quarantine", _QUARANTINE_BYTES)
    try:
        reports = [(evt.EVT_N_EVENT_REPORT, heard, [outbox])]
        with scp.listening(settings.receive, incoming, quarantine, reports) as port:
            for thread in threads:
                thread.start()
            yield port
    finally:
        stop.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        workers.close()
        shadows.close()


def _outbox(settings: Settings, journal: Journal) -> Outbox:
    """With nothing in it that has no row, and nobody to whom it waits in vain."""
    outbox = Outbox(journal, settings.state / "results", settings.send)
    if strays := outbox.sweep():
        _LOG.info("%d results that were never entered are removed", strays)
    if lost := outbox.abandon():
        _LOG.warning("%d deliveries are dead: the settings no longer name their destination", lost)
    return outbox


def _sending(outbox: Outbox, destination: Destination, calling_ae_title: str) -> Sending:
    if destination.stow is not None:
        return Sending(outbox, destination, StowRs(destination.stow, outbox.folder))
    assert destination.dicom is not None
    peer = Peer(destination.dicom, calling_ae_title)
    commitment = CommitmentScu(peer, outbox) if destination.dicom.commitment else None
    return Sending(outbox, destination, StoreScu(peer, outbox.folder), commitment)


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """No other box works in this state; the lock goes with the process, however it ends.

    Raises:
        ConfigError: one does.
    """
    with open(state / ".lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"no other box at work in {state}", "one", "End it, or give another `state`.") from error
        yield
