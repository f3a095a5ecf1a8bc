"""`python -m deploy.triton RELEASE OUT`: a Triton model repository of a release."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deploy.triton import repository
from pipeline.errors import PipelineError
from pipeline.inference.release import open_release
from pipeline.inference.signature import UNSIGNED
from pipeline.progress import say


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the repository is written, 1 when the release cannot be used."""
    asked = _parser().parse_args(arguments)
    try:
        release = open_release(asked.release, asked.public_key)
        if not release.verified:
            say(f"{UNSIGNED if release.manifest.signature == UNSIGNED else 'signature not checked'}: see --public-key")
        written = repository.write(release.manifest, asked.release, asked.out, untried=asked.untried_engines)
    except PipelineError as error:
        say(f"{type(error).__name__}: {error}")
        return 1
    for name in written.models:
        say(f"{asked.out / name}: as the graph takes and gives it")
    for reason in written.left_out:
        say(f"left out: {reason}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.triton",
        description="Write a Triton model repository of a release. Clients prepare slices as the box does. "
        "Research use only.",
    )
    parser.add_argument("release", type=Path, metavar="RELEASE", help="a release folder, such as models/release")
    parser.add_argument("out", type=Path, metavar="OUT", help="the repository; models of these names are replaced")
    parser.add_argument(
        "--public-key", type=Path, metavar="PEM", help="the maker's Ed25519 public key, had by other means"
    )
    parser.add_argument(
        "--untried-engines", action="store_true", help="serve engines of the release, too, that no GPU has run yet"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
