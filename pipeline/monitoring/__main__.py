"""`python -m pipeline.monitoring RELEASE REPORTS_DIR`: whether a box's studies are like its release's own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.files import write_json, write_text
from pipeline.monitoring.summary import against_release, markdown
from pipeline.progress import say

#: Exit statuses beside 0; 2 is argparse's.
FAILED, ALARM = 1, 3


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 without an alarm, 3 with one, 1 when release or reports cannot be used."""
    asked = _parser().parse_args(arguments)
    try:
        found = against_release(asked.release, asked.reports)
        table = markdown(found)
        if asked.out is None:
            sys.stdout.write(table)
        else:
            write_json(asked.out / "drift.json", found)
            write_text(asked.out / "drift.md", table)
    except PipelineError as error:
        say(f"{type(error).__name__}: {error}")
        return FAILED
    return ALARM if found["alarm"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.monitoring",
        description="A box's reports against the studies that its release was made with. "
        f"Exit status {ALARM}: an alarm; {FAILED}: release or reports cannot be used.",
    )
    parser.add_argument("release", type=Path, metavar="RELEASE", help="the release folder that the box runs")
    parser.add_argument("reports", type=Path, metavar="REPORTS_DIR", help="the folder of the box's reports")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where drift.json and drift.md go; without it, the table to stdout"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
