"""Who may see what: the token, a session that began with it, or a client's certificate.

A programme sends `Authorization: Bearer TOKEN`. A browser sends the token once, by a form, and gets a cookie that no
script can read and no other site can use; it names a session in the box's memory, which ends with the box or by itself.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from deploy.box.audit_messages import Actor
from pipeline.errors import ConfigError

#: Of a token; what is long and by chance needs no delay against guessing.
LEAST_CHARACTERS = 32
SESSION_S = 8 * 3600
_MOST_SESSIONS = 64


def read_token(path: Path) -> str:
    """The token in a file.

    Raises:
        ConfigError: no file, or no token that is worth the name.
    """
    remedy = f"Make one: `openssl rand -hex 32 > {path}`, readable by the box alone."
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the web page's token in {path}", type(error).__name__, remedy) from error
    if len(token) < LEAST_CHARACTERS or not token.isprintable() or " " in token:
        raise ConfigError(f"a token of at least {LEAST_CHARACTERS} characters in {path}", f"{len(token)}", remedy)
    return token


class Access:
    """The token, and the sessions that began with it; for several threads."""

    def __init__(self, token: str | None, secure: bool) -> None:
        """`secure`: over TLS, where the cookie is for this host and TLS alone."""
        self._token, self.secure = token, secure
        self.cookie = "__Host-session" if secure else "session"
        self._lock, self._sessions = threading.Lock(), dict[str, float]()

    def actor(self, request: HTTPConnection) -> Actor | None:
        """Who asks; None: nobody that is known."""
        address = address_of(request)
        if name := request.scope.get("state", {}).get("certificate"):
            return Actor("certificate", name, address)
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given):
            return Actor("token", "token", address)
        if self._is_session(request.cookies.get(self.cookie, "")):
            return Actor("session", "token", address)
        return None

    def is_token(self, given: str) -> bool:
        """Whether it is, in a time that does not tell how much of it is right."""
        if self._token is None:
            return False
        return hmac.compare_digest(given.strip().encode(), self._token.encode())

    def begin(self) -> str:
        """A new session; beyond some number the oldest ends."""
        made = secrets.token_urlsafe(32)
        with self._lock:
            self._sessions[made] = time.monotonic() + SESSION_S
            while len(self._sessions) > _MOST_SESSIONS:
                self._sessions.pop(next(iter(self._sessions)))
        return made

    def end(self, request: HTTPConnection) -> None:
        """End the session of this request."""
        with self._lock:
            self._sessions.pop(request.cookies.get(self.cookie, ""), None)

    def _is_session(self, given: str) -> bool:
        with self._lock:
            return self._sessions.get(given, 0.0) > time.monotonic()


def address_of(request: HTTPConnection) -> str:
    """Whence a request comes; empty where that is not known."""
    return request.client.host if request.client else ""


def foreign(request: HTTPConnection) -> bool:
    """Whether a browser sends this on behalf of another origin; programmes name none.

    SameSite cookies know no ports, and a client's certificate goes along with everything: so `Origin` is looked at.
    """
    origin = request.headers.get("origin")
    if origin is None:
        return request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
    return urlsplit(origin).netloc != request.headers.get("host")
