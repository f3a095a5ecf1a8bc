"""The form that takes the token, and the session that it begins."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from deploy.box.web import page
from deploy.box.web.access import SESSION_S, address_of

#: A token and its name, with room to spare.
_MOST_BYTES = 4_096


def form(request: Request) -> Response:
    """The form."""
    return page.render(request, "login.html.j2", title="Log in", wrong=False)


async def log_in(request: Request) -> Response:
    """A session for the right token; the form again for a wrong one."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            return PlainTextResponse("That is no token.", 413)
    box, access = request.app.state.box, request.app.state.access
    given = parse_qs(body.decode("ascii", "replace")).get("token", [""])[0]
    right = access.is_token(given)
    box.watch.logged_in(address_of(request), right)
    if not right:
        return page.render(request, "login.html.j2", 403, title="Log in", wrong=True)
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        access.cookie,
        access.begin(),
        max_age=SESSION_S,
        path="/",
        secure=access.secure,
        httponly=True,
        samesite="strict",
    )
    return answer


def log_out(request: Request) -> Response:
    """The session ends."""
    access = request.app.state.access
    access.end(request)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(access.cookie, path="/", secure=access.secure, httponly=True, samesite="strict")
    return answer
