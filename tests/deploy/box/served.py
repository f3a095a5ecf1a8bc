"""A box as a process of its own: its settings, and who starts it."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port


def write_settings(
    folder: Path,
    release: Path,
    quiet_s: float = 1.5,
    senders: Sequence[str] = ("SCANNER",),
    port: int | None = None,
    more: str = "",
) -> Path:
    """Those of a box that takes from this machine, with its state beside them.

    Args:
        folder: of both.
        release: that answers.
        quiet_s: as `[studies]` has it.
        senders: AE titles.
        port: it receives there; None: at a free one.
        more: sections that follow.
    """
    known = ", ".join(f'{{ ae_title = "{each}", networks = ["127.0.0.1/32"] }}' for each in senders)
    path = folder / "box.toml"
    path.write_text(
        f"""
        state = "{folder / "state"}"
        release = "{release}"
        allow_unsigned = true
        [receive]
        ae_title = "MRIBOX"
        port = {port or free_port()}
        keep_free_mb = 1
        senders = [{known}]
        [studies]
        quiet_s = {quiet_s}
        {more}
        """
    )
    return path


def web(folder: Path, port: int, token: str | None = None) -> str:
    """The section of a page there, with its token in a file; None: one of chance."""
    (folder / "token").write_text(token or secrets.token_hex(32))
    return f'[web]\nport = {port}\ntoken_file = "{folder / "token"}"\n'


def destination(name: str, ae_title: str, port: int, more: str = "") -> str:
    """The section of one on this machine that takes C-STORE."""
    dicom = f'{{ ae_title = "{ae_title}", address = "127.0.0.1", port = {port} }}'
    return f'[[send]]\nname = "{name}"\ndicom = {dicom}\n{more}\n'


def port_of(settings: Path) -> int:
    """Where the box receives."""
    return int(settings.read_text().split("port = ")[1].split()[0])


def command(name: str, settings: Path, *more: str) -> list[str]:
    """One of the box's."""
    return [sys.executable, "-m", "deploy.box", name, str(settings), *more]


@contextmanager
def serving(root: Path, settings: Path, *start: str) -> Iterator[subprocess.Popen[bytes]]:
    """A box at work, started by another command where one is given; killed in the end. Its log lies beside."""
    with open(settings.with_name("box.log"), "ab") as log:
        box = subprocess.Popen(start or command("serve", settings), cwd=root, stdout=log, stderr=log)
        try:
            yield box
        finally:
            box.kill()
            box.wait()
