"""`python -m deploy.box compile RELEASE --state DIR`: a release's engine, built and tried on this machine's GPU."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import get_args

from deploy.box import engines
from pipeline.errors import PipelineError
from pipeline.fingerprint import Precision
from pipeline.progress import say


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the engine may be used, 1 with the reason when not."""
    asked = _parser().parse_args(arguments)
    try:
        engines.require_trusted(asked.release, asked.public_key, asked.allow_unsigned)
        path = engines.compile(asked.release, asked.state, asked.precision)
    except PipelineError as error:
        say(f"{type(error).__name__}: {error}")
        return 1
    say(f"{path}: the release's parity cases passed on this machine; it may be used")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.box", description="The box beside a PACS.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    compile_ = commands.add_parser("compile", help="build the TensorRT engine of a release on this machine")
    compile_.add_argument("release", type=Path, metavar="RELEASE", help="a release folder")
    compile_.add_argument("--state", type=Path, required=True, metavar="DIR", help="where the box keeps its own files")
    compile_.add_argument("--public-key", type=Path, metavar="PEM", help="the maker's Ed25519 public key")
    compile_.add_argument(
        "--allow-unsigned", action="store_true", help="take a release for which nobody vouches with a key"
    )
    compile_.add_argument("--precision", choices=get_args(Precision), help="of the engine; else the release's own")
    return parser


if __name__ == "__main__":
    sys.exit(main())
