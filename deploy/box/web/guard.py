"""Before every request: who asks, and whether that is answered; on every answer: what a browser may do with it."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deploy.box.web.access import Access, address_of, foreign

#: What answers anybody; none of it says anything of a study.
OPEN = ("/health/live", "/health/ready", "/login", "/style.css", "/refresh.js", "/icon.svg")
_SAFE = ("GET", "HEAD")
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # With none at all, a browser's form would name no origin, and `foreign` would refuse it.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Pages hold names of patients; a shared workstation keeps none of them.
    "cache-control": "no-store",
}


class Guard:
    """ASGI, around the whole application."""

    def __init__(self, app: ASGIApp, access: Access, refused: Callable[[str], None], *more_open: str) -> None:
        """Nothing is served yet.

        Args:
            app: what is guarded.
            access: who may.
            refused: is told the address from which a wrong token came.
            more_open: paths beside `OPEN`.
        """
        self._app, self._access, self._refused = app, access, refused
        self._open = (*OPEN, *more_open)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, refuse, or send a browser to the form."""
        request = Request(scope)
        actor = scope["state"]["actor"] = self._access.actor(request)
        answer: ASGIApp = self._app
        if request.method not in _SAFE and foreign(request):
            answer = PlainTextResponse("Requests that change something come from the box's own pages.", 403)
        # Not `request.url`, which has been made of the Host header, too.
        elif actor is None and scope["path"] not in self._open:
            answer = self._turned_away(request)
        await answer(scope, receive, self._marked(send))

    def _turned_away(self, request: Request) -> Response:
        if "authorization" in request.headers:
            self._refused(address_of(request))
        elif request.method in _SAFE and "text/html" in request.headers.get("accept", ""):
            return RedirectResponse("/login", 303)
        return PlainTextResponse("A token is needed.", 401, {"www-authenticate": "Bearer"})

    def _marked(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if self._access.secure:
                    headers["strict-transport-security"] = "max-age=31536000"
            await send(message)

        return sending
