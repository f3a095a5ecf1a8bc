"""`python -m deploy.triton RELEASE OUT`: a Triton model repository of a release."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deploy import command
from deploy.box import engines
from deploy.triton import repository
from pipeline.errors import EngineError, PipelineError
from pipeline.fingerprint import REBUILD, Engine
from pipeline.progress import say


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the repository is written, 1 when the release cannot be used."""
    asked = _parser().parse_args(arguments)
    try:
        release = command.open_plain(asked.release, asked.public_key)
        kept = None if asked.state is None else _kept(asked.release, asked.state)
        written = repository.write(release.manifest, asked.release, asked.out, kept, untried=asked.untried_engines)
    except PipelineError as error:
        say(f"{type(error).__name__}: {error}")
        return 1
    for name in written.models:
        say(f"{asked.out / name}: as the graph takes and gives it")
    for reason in written.left_out:
        say(f"left out: {reason}")
    return 0


def _kept(release: Path, state: Path) -> tuple[Engine, Path]:
    """The engine that a box keeps of a release.

    Raises:
        EngineError: it keeps none.
    """
    record = engines.place(release, state) / engines.RECORD
    if not record.is_file():
        raise EngineError(f"an engine of this release in {state}", "none", REBUILD)
    engine = engines.Kept.model_validate_json(record.read_bytes()).engine
    return engine, record.with_name(Path(engine.file).name)


def _parser() -> argparse.ArgumentParser:
    parser = command.parser(
        "python -m deploy.triton",
        "Write a Triton model repository of a release. Clients prepare slices as the box does.",
        "the repository; models of these names are replaced",
    )
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="of `python -m deploy.box compile`: serve the engine in it, too"
    )
    parser.add_argument(
        "--untried-engines", action="store_true", help="serve engines of the release, too, that no GPU has run yet"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
