"""The box's commands: `python -m deploy.box COMMAND`.

serve SETTINGS [--release DIR]  receive from scanners and archives, and answer what is complete
studies SETTINGS [--again N]    what came, how far it is, and what was said of it
outbox SETTINGS [--replay N]    what was sent of it, to whom, and what is not there and why
release SETTINGS [--shadow DIR] [--switch [DIR]] [--rollback]
                                which release answers, which runs in its shadow, and how far they agree
fetch SETTINGS ARCHIVE ...      studies that a PACS has already, to this box or into a folder
audit SETTINGS [--verify]       who sent, looked at and was refused what; whether that record is whole
compile RELEASE --state DIR     a release's engine, built and tried on this machine's GPU
"""

from __future__ import annotations

import argparse
import getpass
import logging
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from deploy.box import audit, engines, settings, worklist
from deploy.box.audit import Audit
from deploy.box.audit_messages import Actor
from deploy.box.journal import Journal
from deploy.box.outbox import Outbox
from deploy.box.trail import Trail
from pipeline.errors import ConfigError, PipelineError
from pipeline.fingerprint import Precision
from pipeline.progress import say


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when it did its work, 1 with the reason when not."""
    asked = _parser().parse_args(arguments)
    try:
        asked.run(asked)
    except PipelineError as error:
        say(f"{type(error).__name__}: {error}")
        return 1
    return 0


def _compile(asked: argparse.Namespace) -> None:
    _require_own(asked.state)
    engines.require_trusted(asked.release, asked.public_key, asked.allow_unsigned)
    path = engines.compile(asked.release, asked.state, asked.precision)
    say(f"{path}: the release's parity cases passed on this machine; it may be used")


def _serve(asked: argparse.Namespace) -> None:
    from deploy.box import service  # `compile` needs nothing of `[box]`

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # It reports each association, with what the other side says of itself.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    # Their errors may hold what a header or a request said; the application logs its own without.
    for name in ("uvicorn.error", "python_multipart", "pydicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Of values that DICOM does not allow, which they quote.
    warnings.filterwarnings("ignore", module="pydicom")
    read = settings.read(asked.settings)
    service.serve(read if asked.release is None else read.model_copy(update={"release": asked.release.resolve()}))


def _studies(asked: argparse.Namespace) -> None:
    with closing(Journal(_read(asked).state / "journal.sqlite")) as journal:
        if asked.again is not None:
            worklist.again(journal, asked.again)
        say(worklist.table(journal.studies()))


def _read(asked: argparse.Namespace) -> settings.Settings:
    """The settings of a box whose files are this user's: what another made beside them, the box could not use.

    Raises:
        ConfigError: the box's state is another's.
    """
    read = settings.read(asked.settings)
    _require_own(read.state)
    return read


def _require_own(state: Path) -> None:
    if state.is_dir() and (owner := state.stat().st_uid) != os.geteuid():
        remedy = f"Run it as that user: `sudo -u '#{owner}' ...`, or by its name."
        raise ConfigError(f"the user who owns {state}, number {owner}", f"number {os.geteuid()}", remedy)


def _outbox(asked: argparse.Namespace) -> None:
    read = _read(asked)
    with closing(Journal(read.state / "journal.sqlite")) as journal:
        outbox = Outbox(journal, read.state / "results", read.send)
        if asked.replay is not None:
            say(f"{outbox.replay(None if asked.replay == 'all' else asked.replay)} queued again")
        say(worklist.deliveries(outbox.deliveries()))


def _release(asked: argparse.Namespace) -> None:
    from deploy.box import changes  # `compile` needs nothing of `[box]`
    from deploy.box.releases import Releases

    read = _read(asked)
    releases = Releases.of(read)
    if asked.rollback:
        releases.rollback()
    elif asked.switch is not None:
        releases.switch(asked.switch or None)
    elif asked.shadow is not None:
        releases.shadow(asked.shadow or None)
    with closing(Journal(read.state / "journal.sqlite")) as journal:
        say(changes.said(releases, journal))


def _fetch(asked: argparse.Namespace) -> None:
    from deploy.box import fetch
    from deploy.box.peer import Peer

    read = _read(asked)
    known = {each.name: each for each in read.archives}
    if asked.archive not in known:
        raise ConfigError(f"one of the archives {', '.join(known) or '(none)'}", asked.archive, "See `archives`.")
    archive, title, studies = known[asked.archive].dicom, read.receive.ae_title, list(asked.study)
    peer, trail = Peer(archive, title), Trail(Audit(read.state / "audit", title), title)
    told = partial(trail.queried, Actor("user", getpass.getuser()), archive)
    if asked.list is not None:
        studies += fetch.listed(asked.list)
    if asked.find:
        matches = fetch.found(peer, dict(asked.find), told)
        sys.stdout.writelines(f"{fetch.shown(match)}\n" for match in matches)
        studies += [str(match.StudyInstanceUID) for match in matches] if asked.all else []
    fetch.all_of(peer, studies, asked.to, title, told)


def _folder(text: str) -> Path | Literal[""]:
    return Path(text) if text else ""


def _audit(asked: argparse.Namespace) -> None:
    read = _read(asked)
    folder = read.state / "audit"
    trail = Trail(Audit(folder, read.receive.ae_title), read.receive.ae_title)
    if asked.verify:
        head = audit.verify(folder, asked.noted)
        say(f"{head.number} records are whole; note elsewhere, for --noted: {head.number}:{head.sha256}")
    else:
        sys.stdout.writelines(f"{message}\n" for message in audit.messages(folder))
    trail.log_used(Actor("user", getpass.getuser()), folder)


def _noted(text: str) -> audit.Head:
    number, _, sha256 = text.partition(":")
    if not number.isdecimal() or len(sha256) != len(audit.Head().sha256):
        raise argparse.ArgumentTypeError("as `--verify` printed it: a number, a colon and a hash")
    return audit.Head(int(number), sha256)


def _key(text: str) -> tuple[str, str]:
    keyword, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError("KEYWORD=VALUE, such as StudyDate=20260101-20260131")
    return keyword, value


def _replayed(text: str) -> int | str:
    return text if text == "all" else int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.box", description="The box beside a PACS.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], words: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=words)
        made.add_argument("settings", type=Path, metavar="SETTINGS", help="a TOML file")
        made.set_defaults(run=run)
        return made

    serve = command("serve", _serve, "receive from scanners and archives, and answer what is complete")
    serve.add_argument("--release", type=Path, metavar="DIR", help="the release, in place of the settings' own")
    studies = command("studies", _studies, "what came, how far it is, and what was said of it")
    studies.add_argument("--again", type=int, metavar="N", help="have the box answer this study once more")
    outbox = command("outbox", _outbox, "what was sent, to whom, and what is not there and why")
    again = "send this delivery again; all: those that were given up"
    outbox.add_argument("--replay", type=_replayed, metavar="N", help=again)
    release = command("release", _release, "which release answers; another in its shadow; switch, and back")
    change = release.add_mutually_exclusive_group()
    folder: dict[str, Any] = {"type": _folder, "nargs": "?", "const": "", "metavar": "DIR"}
    change.add_argument("--shadow", **folder, help="run this one beside it; without DIR, none")
    change.add_argument("--switch", **folder, help="to this one; without DIR, to the shadow")
    change.add_argument("--rollback", action="store_true", help="to the one that answered before")
    _fetch_parser(command("fetch", _fetch, "studies that a PACS has already, to this box or into a folder"))
    audited = command("audit", _audit, "who did what to whose data, as DICOM audit messages")
    audited.add_argument("--verify", action="store_true", help="say whether the record is whole, in place of it")
    audited.add_argument("--noted", type=_noted, metavar="N:SHA256", help="what an earlier --verify printed")
    _compile_parser(commands.add_parser("compile", help="build the TensorRT engine of a release on this machine"))
    return parser


def _fetch_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("archive", metavar="ARCHIVE", help="the name of one of the settings' archives")
    parser.add_argument(
        "--find", nargs="+", type=_key, default=[], metavar="KEYWORD=VALUE", help="list the studies that match"
    )
    parser.add_argument("--all", action="store_true", help="and fetch them")
    parser.add_argument("--study", nargs="+", default=[], metavar="UID", help="fetch these")
    parser.add_argument("--list", type=Path, metavar="FILE", help="fetch those whose UIDs stand in a file")
    parser.add_argument("--to", type=Path, metavar="DIR", help="into this folder, in place of this box")


def _compile_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("release", type=Path, metavar="RELEASE", help="a release folder")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="where the box keeps its own files")
    parser.add_argument("--public-key", type=Path, metavar="PEM", help="the maker's Ed25519 public key")
    unsigned = "take a release for which nobody vouches with a key"
    parser.add_argument("--allow-unsigned", action="store_true", help=unsigned)
    parser.add_argument("--precision", choices=get_args(Precision), help="of the engine; else the release's own")
    parser.set_defaults(run=_compile)


if __name__ == "__main__":
    sys.exit(main())
