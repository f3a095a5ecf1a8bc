"""A model hub on loopback, in the shape of huggingface.co: files behind redirects, checksums in headers, and faults."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants


def ask(endpoint: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hub's library ask this hub alone, online, without telemetry and with this cache.

    It reads the environment once, when it is imported.
    """
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


class ModelHub(ThreadingHTTPServer):
    """Serves `files` by "<repository>/<name>".

    A file is answered by a redirect to another host (as to a storage service) that carries its SHA-256 as ETag, as a
    hub does for large files.

    Attributes:
        files: what it states that it has.
        sent: content that it sends instead, by the same names.
        cut: how many bytes at the end it leaves out, of those whose number it states.
        status: an error that it answers everything with.
        silent: "hub" or "storage": which of the two takes a request and never answers; "middle": half a file.
        plain: answers with the file itself and an ETag that is no SHA-256, as for small files.
        asked: methods and paths of the requests for files, in order.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.files: dict[str, bytes] = {}
        self.sent: dict[str, bytes] = {}
        self.cut = 0
        self.status = 0
        self.silent = ""
        self.plain = False
        self.asked: list[str] = []
        self.closing = threading.Event()

    @property
    def commit(self) -> str:
        """Of the files as they are."""
        return hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @contextmanager
    def serving(self) -> Iterator[ModelHub]:
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            self.shutdown()
            self.server_close()
            thread.join()


class _Answer(BaseHTTPRequestHandler):
    server: ModelHub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, place = self.server, self.path.removeprefix("/storage/").removeprefix("/").replace("/resolve/main", "")
        if place.startswith("api/"):
            self.send_error(404)
            return
        hub.asked.append(f"{self.command} {self.path}")
        storage = self.path.startswith("/storage/")
        if hub.silent == ("storage" if storage else "hub"):
            hub.closing.wait(60)
        elif hub.status:
            self.send_error(hub.status)
        elif place not in hub.files:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", self.server.commit)
            self._end(b"")
        elif storage or hub.plain:
            self._file(place)
        else:
            self._redirect(place)

    def _redirect(self, place: str) -> None:
        content = self.server.files[place]
        self.send_response(302)
        # Another name of the same machine, so that clients see another host.
        self.send_header("Location", f"http://localhost:{self.server.server_port}/storage/{place}")
        self.send_header("X-Repo-Commit", self.server.commit)
        self.send_header("X-Linked-Etag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("ETag", '"of-the-redirect"')
        self._end(b"")

    def _file(self, place: str) -> None:
        content = self.server.sent.get(place, self.server.files[place])
        self.send_response(200)
        self.send_header("X-Repo-Commit", self.server.commit)
        self.send_header("ETag", f'"{hashlib.sha1(self.server.files[place]).hexdigest()}"')
        self._end(content)

    def _end(self, content: bytes) -> None:
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET" and self.server.silent == "middle":
            self.wfile.write(content[: len(content) // 2])
            self.server.closing.wait(60)
        elif self.command == "GET":
            self.wfile.write(content[: len(content) - self.server.cut])

    def log_message(self, *_: object) -> None:
        pass
