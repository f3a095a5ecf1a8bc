"""What a box serves over HTTP, on a free loopback port, without the rest of the box."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.box.audit import Audit
from deploy.box.destinations import Destination
from deploy.box.health import Health
from deploy.box.incoming import Incoming
from deploy.box.journal import Journal
from deploy.box.outbox import Outbox
from deploy.box.quarantine import Quarantine
from deploy.box.releases import Releases
from deploy.box.settings import Settings
from deploy.box.trail import Trail
from deploy.box.watch import Watch
from deploy.box.web.app import Box, application
from deploy.box.web.server import serving
from tests.inference.conftest import Maker

TOKEN = "0123456789abcdef" * 4


@dataclass
class Site:
    """What is served, and what lies behind it."""

    box: Box
    address: str

    def __getattr__(self, name: str) -> Any:
        """Of what lies behind it."""
        return getattr(self.box, name)

    def get(self, path: str, **named: Any) -> httpx.Response:
        """With the token."""
        return self.ask("GET", path, headers={"authorization": f"Bearer {TOKEN}"}, **named)

    def ask(self, method: str, path: str, **named: Any) -> httpx.Response:
        """As anybody."""
        return httpx.request(method, self.address + path, trust_env=False, timeout=60, **named)


@pytest.fixture(scope="session")
def release(make_release: Maker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("seen") / "release")


@pytest.fixture
def site(release: Path, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Serves with settings of `[web]` other than the usual."""
    with ExitStack() as stack:

        def start(send: Sequence[Destination] = (), **web: Any) -> Site:
            state = tmp_path / "state"
            state.mkdir(exist_ok=True)
            (tmp_path / "token").write_text(f"{TOKEN}\n")
            given = {"port": 0, "token_file": str(tmp_path / "token"), **web}
            settings = Settings.model_validate(
                {
                    "state": str(state),
                    "release": str(release),
                    "allow_unsigned": True,
                    "receive": {
                        "ae_title": "MRIBOX",
                        "keep_free_mb": 1,
                        "senders": [{"ae_title": "SCANNER", "networks": ["127.0.0.1/32"]}],
                    },
                    "web": given,
                    "send": list(send),
                }
            )
            assert settings.web is not None
            journal = Journal(state / "journal.sqlite")
            watch = Watch(Trail(Audit(state / "audit", "MRIBOX"), "MRIBOX"))
            stack.callback(journal.close)
            releases = Releases(state, None, allow_unsigned=True)
            releases.start(release)
            health = Health(settings, journal, watch, releases, ("web", threading.current_thread().name))
            watch.worker(None)
            incoming = Incoming(state / "incoming", journal, settings.receive.keep_free_mb * 2**20)
            outbox = Outbox(journal, state / "results", settings.send)
            quarantine = Quarantine(state / "quarantine", 2**20)
            box = Box(settings, journal, outbox, incoming, quarantine, watch, health, releases)
            port = stack.enter_context(serving(settings.web, application(box, settings.web)))
            scheme = "http" if settings.web.tls is None else "https"
            return Site(box, f"{scheme}://127.0.0.1:{port}")

        yield start
