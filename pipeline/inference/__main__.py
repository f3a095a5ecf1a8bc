"""`python -m pipeline.inference RELEASE DICOM_DIR`: predictions as CSV from DICOM, without torch."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from pipeline.dicom.load import load
from pipeline.errors import PipelineError
from pipeline.files import write_csv
from pipeline.inference.predict import Prediction, cells, columns, predict
from pipeline.inference.release import Release, open_release
from pipeline.inference.signature import UNSIGNED
from pipeline.progress import say
from pipeline.targets import Targets


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when every series has its row, 1 when the release or the folder cannot be used."""
    asked = _parser().parse_args(arguments)
    try:
        release = open_release(asked.release, asked.public_key, asked.precision == "fp32")
        if release.manifest.signature == UNSIGNED:
            say(f"{UNSIGNED}: nobody vouches for this release with a key")
        elif not release.verified:
            say("signature not checked: give the maker's key with --public-key")
        say(f"running in {release.backend.name}")
        _answer(release, asked.dicom_dir, asked.out)
    except PipelineError as error:
        say(f"{type(error).__name__}: {error}")
        return 1
    return 0


def _answer(release: Release, dicom_dir: Path, out: Path | None) -> None:
    """Write a row for everything in the folder; what was found before an error is written too."""
    predictions: list[Prediction] = []
    try:
        predictions.extend(predict(release, load(dicom_dir, release.manifest.selection, workers=1)))
    finally:
        if predictions:
            _write(predictions, release.targets, out)


def _write(predictions: list[Prediction], targets: Targets, out: Path | None) -> None:
    names = columns(targets)
    rows = [dict(zip(names, cells(prediction, targets), strict=True)) for prediction in predictions]
    if out is not None:
        write_csv(out, names, rows)
        return
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.inference",
        description="Predictions as CSV for every MR series below a folder. Research use only.",
    )
    parser.add_argument("release", type=Path, metavar="RELEASE", help="a release folder, such as models/release")
    parser.add_argument("dicom_dir", type=Path, metavar="DICOM_DIR", help="a folder of DICOM files")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the CSV goes; without it, stdout")
    parser.add_argument(
        "--public-key", type=Path, metavar="PEM", help="the maker's Ed25519 public key, had by other means"
    )
    parser.add_argument(
        "--precision",
        choices=["fp32"],
        help="fp32: in ONNX Runtime, on machines that cannot run what the release was validated to run fastest in",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
