"""`python -m deploy.bundle RELEASE OUT`: a MONAI Bundle of a release."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deploy.bundle import export
from pipeline.errors import PipelineError
from pipeline.inference.release import open_release
from pipeline.inference.signature import UNSIGNED
from pipeline.progress import say


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the bundle is written, 1 when the release cannot be used or MONAI is missing."""
    asked = _parser().parse_args(arguments)
    try:
        # A bundle has the fp32 graph, whatever this machine could run beside it.
        release = open_release(asked.release, asked.public_key, plain=True)
        if not release.verified:
            say(f"{UNSIGNED if release.manifest.signature == UNSIGNED else 'signature not checked'}: see --public-key")
        export.write(release.manifest, asked.release, asked.out)
    except PipelineError as error:
        say(f"{type(error).__name__}: {error}")
        return 1
    say(f"{asked.out}: how to run it says its docs/README.md")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.bundle", description="Write a MONAI Bundle of a release. Research use only."
    )
    parser.add_argument("release", type=Path, metavar="RELEASE", help="a release folder, such as models/release")
    parser.add_argument("out", type=Path, metavar="OUT", help="the bundle's folder; what is there is replaced")
    parser.add_argument(
        "--public-key", type=Path, metavar="PEM", help="the maker's Ed25519 public key, had by other means"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
