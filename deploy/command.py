"""What the commands that hand a release on to another server have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.inference.release import Release, open_release
from pipeline.inference.signature import UNSIGNED
from pipeline.progress import say


def parser(program: str, description: str, out: str) -> argparse.ArgumentParser:
    """Of `program RELEASE OUT [--public-key PEM]`; `out` says what is written."""
    made = argparse.ArgumentParser(prog=program, description=f"{description} Research use only.")
    made.add_argument("release", type=Path, metavar="RELEASE", help="a release folder, such as models/release")
    made.add_argument("out", type=Path, metavar="OUT", help=out)
    made.add_argument(
        "--public-key", type=Path, metavar="PEM", help="the maker's Ed25519 public key, had by other means"
    )
    return made


def open_plain(folder: Path, public_key: Path | None) -> Release:
    """The release with its fp32 graph, whatever this machine could run beside it; says where nobody vouches for it.

    Raises:
        ContractError: see `open_release`.
    """
    release = open_release(folder, public_key, plain=True)
    if not release.verified:
        say(f"{UNSIGNED if release.manifest.signature == UNSIGNED else 'signature not checked'}: see --public-key")
    return release
