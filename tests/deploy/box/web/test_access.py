"""Who gets in, and what stays outside."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError
from starlette.datastructures import URL
from starlette.requests import Request

from deploy.box.web.access import read_token
from deploy.box.web.settings import Web
from pipeline.errors import ConfigError
from tests.deploy.box.test_tls import certificate
from tests.deploy.box.web.conftest import TOKEN, Site

Start = Callable[..., Site]


@pytest.mark.parametrize("path", ["/", "/metrics", "/failures", "/studies/1", "/dicomweb/studies", "/nothing-there"])
def test_without_a_token_nothing_is_said(site: Start, path: str) -> None:
    box = site()
    for headers in (
        {},
        {"authorization": f"Bearer {TOKEN[:-1]}"},
        {"authorization": "Bearer"},
        {"cookie": "session=x"},
    ):
        found = box.ask("GET", path, headers=headers)
        assert (found.status_code, found.text) == (401, "A token is needed.")
        assert found.headers["www-authenticate"] == "Bearer"
    assert box.get(path).status_code != 401


@pytest.mark.parametrize("host", ["x/health/live?", "x/health/live#", "x/login?a=", "x@/health/live?", "/health/live?"])
def test_no_door_is_opened_by_the_name_of_the_host(site: Start, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    # As older versions of Starlette make it.
    naive = property(lambda asked: URL(f"http://{asked.headers['host']}{asked.scope['path']}"))
    monkeypatch.setattr(Request, "url", naive)
    box = site()
    for path in ("/", "/metrics", "/studies/1"):
        found = box.ask("GET", path, headers={"host": host})
        assert (found.status_code, found.text) == (401, "A token is needed.")
    assert box.ask("GET", "/health/live", headers={"host": host}).status_code in (200, 503)


def test_health_and_the_form_answer_anybody_and_metrics_where_a_setting_says_so(site: Start) -> None:
    box = site(metrics_without_token=True)
    assert [box.ask("GET", path).status_code for path in ("/health/live", "/health/ready", "/metrics")] == [200] * 3
    form = box.ask("GET", "/", headers={"accept": "text/html"}, follow_redirects=True)
    assert form.url.path == "/login"
    assert 'type="password"' in form.text


def test_a_browser_logs_in_once_and_out(site: Start) -> None:
    box = site()
    with httpx.Client(base_url=box.address, trust_env=False) as browser:
        wrong = browser.post("/login", data={"token": "x"})
        assert wrong.status_code == 403
        assert "not the token" in wrong.text
        right = browser.post("/login", data={"token": TOKEN})
        cookie = right.headers["set-cookie"].lower()
        assert right.status_code == 303
        assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/"))
        assert TOKEN not in cookie
        assert browser.get("/metrics").status_code == 200
        browser.post("/logout")
        browser.cookies.set("session", cookie.partition("=")[2].partition(";")[0])
        assert browser.get("/metrics").status_code == 401
    assert "box_tokens_refused_total 1.0" in box.get("/metrics").text


@pytest.mark.parametrize(
    "headers", [{"origin": "https://elsewhere.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}]
)
def test_another_site_cannot_post_in_a_users_name(site: Start, headers: dict[str, str]) -> None:
    box = site()
    found = box.ask("POST", "/logout", headers={"authorization": f"Bearer {TOKEN}", **headers})
    assert found.status_code == 403
    port = box.address.rpartition(":")[2]
    other = {"origin": f"http://127.0.0.1:{int(port) + 1}", "authorization": f"Bearer {TOKEN}"}
    assert box.ask("POST", "/logout", headers=other).status_code == 403
    assert box.ask("POST", "/logout", headers={**other, "origin": box.address}).status_code == 303


def test_every_answer_says_what_a_browser_may_do_with_it(site: Start) -> None:
    box = site()
    for found in (box.ask("GET", "/health/live"), box.get("/nothing-there"), box.ask("GET", "/metrics")):
        assert "default-src 'none'" in found.headers["content-security-policy"]
        assert "unsafe" not in found.headers["content-security-policy"]
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["cache-control"] == "no-store"
        assert "server" not in found.headers


def test_a_certificate_of_the_hospital_is_as_good_as_the_token_and_no_other_is(site: Start, tmp_path: Path) -> None:
    for name, authority in (("hospital", None), ("box", "hospital"), ("admin", "hospital"), ("stranger", None)):
        certificate(tmp_path, name, authority)
    files = {"certificate": "box.pem", "key": "box.key", "authorities": "hospital.pem"}
    box = site(token_file=None, tls={name: str(tmp_path / file) for name, file in files.items()})

    def ask(name: str | None) -> int:
        context = ssl.create_default_context(cafile=tmp_path / "hospital.pem")
        if name is not None:
            context.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
        return httpx.get(f"{box.address}/metrics", verify=context, trust_env=False).status_code

    assert ask("admin") == 200
    assert ask(None) == 401
    with pytest.raises((httpx.TransportError, ssl.SSLError)):
        ask("stranger")
    with pytest.raises(httpx.TransportError):
        httpx.get(box.address.replace("https", "http") + "/health/live", trust_env=False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "a token_file"),
        ({"token_file": "/t", "address": "0.0.0.0"}, "beyond loopback"),
        ({"tls": {"certificate": "/c", "key": "/k"}}, "a token_file"),
        ({"token_file": "t"}, "a path from the root"),
    ],
)
def test_what_would_leave_the_door_open_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Web.model_validate(given)
    assert Web.model_validate({"token_file": "/t", "address": "0.0.0.0", "plaintext_beyond_loopback": True}).port


def test_a_token_that_could_be_guessed_is_none(tmp_path: Path) -> None:
    path = tmp_path / "token"
    with pytest.raises(ConfigError, match="openssl rand"):
        read_token(path)
    path.write_text("secret")
    with pytest.raises(ConfigError, match="at least 32"):
        read_token(path)


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\ntok"])
def test_silence_ends_a_connection(site: Start, said: bytes) -> None:
    box = site(idle_s=1)
    with socket.create_connection(("127.0.0.1", int(box.address.rpartition(":")[2])), timeout=60) as line:
        line.sendall(said)
        began = time.monotonic()
        try:
            while line.recv(4096):
                pass
        except ConnectionResetError:
            pass
        assert time.monotonic() - began < 30


def test_more_connections_than_are_allowed_are_closed_and_the_others_go_on(site: Start) -> None:
    box = site(connections=8, idle_s=60)
    address = ("127.0.0.1", int(box.address.rpartition(":")[2]))
    lines = [socket.create_connection(address, timeout=60) for _ in range(24)]
    try:
        closed = 0
        for line in lines[16:]:
            try:
                closed += line.recv(1) == b""
            except ConnectionResetError:
                closed += 1
        assert closed == 8
    finally:
        for line in lines:
            line.close()
    assert box.get("/health/live").status_code in (200, 503)
