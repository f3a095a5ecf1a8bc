"""The box as a service: receive, tell when a study is complete, answer it."""

from __future__ import annotations

import ctypes
import fcntl
import logging
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

from pynetdicom import evt

from deploy.box import scp
from deploy.box.audit import Audit
from deploy.box.commitment import CommitmentScu, heard
from deploy.box.destinations import Destination
from deploy.box.health import Health
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
from deploy.box.syslog import Forwarding
from deploy.box.trail import Trail
from deploy.box.watch import Watch
from deploy.box.web.app import Box, application
from deploy.box.web.server import serving
from deploy.box.worker import Limits
from deploy.box.workers import Workers
from pipeline.errors import ConfigError, WorkerError
from pipeline.files import sync_folder

#: Of refused instances.
_QUARANTINE_BYTES = 2**30
#: In seconds, how often it is looked whether every thread is at work.
_LOOK_S = 1.0
# Parameters of mallopt(3), from malloc.h of glibc.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8

_LOG = logging.getLogger(__name__)


def journal_of(settings: Settings) -> Journal:
    """The journal in the box's state, whose folder is made for nobody else to read.

    Raises:
        ContractError: a later version of the box wrote it.
    """
    if not settings.state.is_dir():
        settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(settings.state.parent)
    return Journal(settings.state / "journal.sqlite")


def serve(settings: Settings) -> None:
    """Until SIGTERM or SIGINT; what is under way is finished then.

    Raises:
        ContractError: the release is not whole or not by the owner of the key.
        ConfigError: the port or a file of TLS cannot be used.
        WorkerError: a thread has ended by an error that nobody foresaw; what starts the box starts it anew.
    """
    stop = threading.Event()

    def ask(number: int, _: FrameType | None) -> None:
        _LOG.info("%s: stopping", signal.Signals(number).name)
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    _give_memory_back()
    try:
        with _words_left_out(), running(settings, stop) as (port, health):
            _LOG.info("receiving as %s at %s:%d", settings.receive.ae_title, settings.receive.address, port)
            while not stop.wait(_LOOK_S):
                if ended := [check.name for check in health.live() if not check.passed and not stop.is_set()]:
                    remedy = "What was acknowledged is on the disk: start the box again. Report the error in its log."
                    raise WorkerError("every thread of the box at work", f"ended: {', '.join(ended)}", remedy)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _give_memory_back() -> None:
    """What instances took, once they are written: glibc would keep an arena for each of many threads."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 2)
        libc.mallopt(_M_MMAP_THRESHOLD, 2**17)


@contextmanager
def running(settings: Settings, stop: threading.Event) -> Iterator[tuple[int, Health]]:
    """Everything that works while the context lasts; gives the port, and how it is. It sets `stop` in the end.

    Raises:
        ConfigError: see `serve`; or another box is at work in the same state.
    """
    with closing(journal_of(settings)) as journal, _alone(settings.state):
        yield from _running(settings, journal, stop)


def _running(settings: Settings, journal: Journal, stop: threading.Event) -> Iterator[tuple[int, Health]]:
    trail = Trail(Audit(settings.state / "audit", settings.receive.ae_title), settings.receive.ae_title)
    watch = Watch(trail)
    incoming = _incoming(settings, journal)
    limits = Limits(settings.work.memory_mb * 2**20, settings.work.study_s)
    releases = Releases.of(settings)
    releases.start(settings.release)
    workers, shadows = Workers(releases, limits, trail.release), Workers(releases, limits)
    outbox = _outbox(settings, journal)
    quarantine = Quarantine(settings.state / "quarantine", _QUARANTINE_BYTES)
    reports = settings.state / "reports"
    answering = Answering(journal, incoming.folder, outbox, reports, workers.current, settings.studies, watch=watch)
    working: dict[str, Answering | Forgetting | Forwarding | Sending | Shadowing] = {
        "answer": answering,
        "shadow": Shadowing(journal, incoming.folder, shadows),
        "forget": Forgetting(journal, incoming.folder, outbox.folder, quarantine, settings.retention),
        **_forwarding(settings),
        # A destination that is silent keeps no other waiting.
        **{f"send to {each.name}": _sending(outbox, each, settings.receive.ae_title, trail) for each in settings.send},
    }
    threads = [threading.Thread(target=each.run, args=(stop,), name=name) for name, each in working.items()]
    web = () if settings.web is None else ("web",)
    health = Health(settings, journal, watch, releases, ("receive", *web, *working))
    box = Box(settings, journal, outbox, incoming, quarantine, watch, health, releases)
    try:
        committed = [(evt.EVT_N_EVENT_REPORT, heard, [outbox])]
        with _web(box), scp.listening(settings.receive, incoming, quarantine, committed, watch) as port:
            trail.activity(started=True)
            for thread in threads:
                thread.start()
            yield port, health
    finally:
        stop.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        workers.close()
        shadows.close()
        trail.activity(started=False)


def _incoming(settings: Settings, journal: Journal) -> Incoming:
    """With nothing in it that has no row."""
    incoming = Incoming(settings.state / "incoming", journal, settings.receive.keep_free_mb * 2**20)
    if strays := incoming.sweep():
        _LOG.info("%d files that were never acknowledged are removed", strays)
    return incoming


def _outbox(settings: Settings, journal: Journal) -> Outbox:
    """With nothing in it that has no row, and nobody to whom it waits in vain."""
    outbox = Outbox(journal, settings.state / "results", settings.send)
    if strays := outbox.sweep():
        _LOG.info("%d results that were never entered are removed", strays)
    if lost := outbox.abandon():
        _LOG.warning("%d deliveries are dead: the settings no longer name their destination", lost)
    return outbox


def _forwarding(settings: Settings) -> dict[str, Forwarding]:
    collector = settings.audit.syslog
    return {} if collector is None else {"syslog": Forwarding(settings.state / "audit", collector)}


def _sending(outbox: Outbox, destination: Destination, calling_ae_title: str, trail: Trail) -> Sending:
    if destination.stow is not None:
        return Sending(outbox, destination, StowRs(destination.stow, outbox.folder), trail=trail)
    assert destination.dicom is not None
    peer = Peer(destination.dicom, calling_ae_title)
    commitment = CommitmentScu(peer, outbox) if destination.dicom.commitment else None
    return Sending(outbox, destination, StoreScu(peer, outbox.folder), commitment, trail=trail)


@contextmanager
def _web(box: Box) -> Iterator[None]:
    """The page and all else over HTTP, where the settings ask for it.

    Raises:
        ConfigError: the token, the port or a file of TLS cannot be used.
    """
    web = box.settings.web
    if web is None:
        yield
        return
    with serving(web, application(box, web)) as port:
        _LOG.info("the page is at %s:%d", web.address, port)
        yield


@contextmanager
def _words_left_out() -> Iterator[None]:
    """A thread that ends by an error says where and of which kind; its words may quote what was received."""

    def tell(ended: threading.ExceptHookArgs) -> None:
        where = "".join(traceback.format_tb(ended.exc_traceback))
        name = "a thread" if ended.thread is None else ended.thread.name
        _LOG.critical("%s has ended by %s:\n%s", name, ended.exc_type.__name__, where)

    before, threading.excepthook = threading.excepthook, tell
    try:
        yield
    finally:
        threading.excepthook = before


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
