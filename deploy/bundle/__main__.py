"""`python -m deploy.bundle RELEASE OUT`: a MONAI Bundle of a release."""

from __future__ import annotations

import sys

from deploy import command
from deploy.bundle import export
from pipeline.errors import PipelineError
from pipeline.progress import say


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the bundle is written, 1 when the release cannot be used or MONAI is missing."""
    parser = command.parser(
        "python -m deploy.bundle",
        "Write a MONAI Bundle of a release.",
        "the bundle's folder; what is there is replaced",
    )
    asked = parser.parse_args(arguments)
    try:
        release = command.open_plain(asked.release, asked.public_key)
        export.write(release.manifest, asked.release, asked.out)
    except PipelineError as error:
        say(f"{type(error).__name__}: {error}")
        return 1
    say(f"{asked.out}: how to run it says its docs/README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
