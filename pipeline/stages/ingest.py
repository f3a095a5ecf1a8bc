"""Stage `ingest`: a folder of DICOM and, if there is one, a labels file -> data/ingested, without identifiers."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pipeline import withdrawn
from pipeline.config import Params
from pipeline.data_config import Data
from pipeline.dicom import deidentified, explain
from pipeline.dicom import labels as labels_file
from pipeline.dicom.deidentify import Options
from pipeline.dicom.incremental import Incremental
from pipeline.dicom.labels import Labels
from pipeline.dicom.load import Anew, load_with, survey
from pipeline.dicom.memory import memory_of
from pipeline.dicom.pseudonym import Pseudonyms, existing_key, load_key, pseudonyms_of
from pipeline.dicom.reasons import REASONS, Rejection
from pipeline.dicom.saved import Saved
from pipeline.dicom.sources import resolve
from pipeline.dicom.tables import (
    INDEX_COLUMNS,
    LABEL_COLUMNS,
    REJECTED_COLUMNS,
    Row,
    index_row,
    label_rows,
    rejected_row,
    shared,
)
from pipeline.dicom.withdrawals import Withdrawals
from pipeline.errors import DataError, LabelError
from pipeline.files import write_csv
from pipeline.progress import say
from pipeline.stages import runner
from pipeline.targets import Targets

OUT = Path("data/ingested")


def ingest(params: Params, deidentify_to: Path | None = None) -> None:
    """Read, check and de-identify every series; write volumes, index, labels and rejections.

    Args:
        params: sections data and ingest.
        deidentify_to: where the DICOM files of the accepted series go, de-identified; None: nowhere.

    Raises:
        LabelError: the labels file cannot be used, or matches no accepted series, or too few for every class.
        DicomError: no such folder, or no MR series in it that can be used.
        ConfigError: the key for pseudonyms, or ingest.scheduler, cannot be used.
        WorkerError: worker after worker was lost over the same work.
        DataError: a patient was withdrawn meanwhile.
        StorageError: the disk is full, or the memory of ingest cannot be used.
    """
    data, settings = params.data, params.ingest
    if deidentify_to:
        deidentified.check_folder(deidentify_to, data.dicom_dir, Path("data"))
    tables = _Tables(_read_labels(data), pseudonyms_of(data.dicom_dir, load_key))
    scans = _accepted(params, tables)
    if deidentify_to:
        options = Options(keep_sex_age=settings.keep_sex_age)
        deidentified.write(deidentify_to, scans, tables.names, options, settings.workers)
    else:
        deque(scans, maxlen=0)  # to their end, for the tables alone
    if params.data.labels:
        _check_labels(params, tables)
    _write(tables, shared(tables.labelled, tables.labels.columns))
    _say_counts(tables)
    say(f"ingest: {deidentified.FACE_WARNING}")


@dataclass
class _Tables:
    """What the stage writes down of each volume and refusal, and what it needs for it."""

    labels: Labels
    names: Pseudonyms
    index: list[Row] = field(default_factory=list)
    labelled: list[Row] = field(default_factory=list)
    rejected: list[Row] = field(default_factory=list)


def _accepted(params: Params, tables: _Tables) -> Iterator[Saved]:
    """Every volume that is taken, once it lies among the outputs and stands in the tables."""
    settings, names, folder = params.ingest, tables.names, params.data.dicom_dir
    with closing(memory_of(params.cache("ingest"), folder, names)) as memory:
        refused = withdrawn.read()
        reader = Incremental(memory, names, Withdrawals(names, refused))
        for item in load_with(reader, folder, settings.selection, settings.workers, settings.scheduler):
            if isinstance(item, Rejection):
                tables.rejected.append(rejected_row(item, names))
                continue
            row = index_row(item, names, OUT / "volumes", settings.keep_sex_age)
            item.put(Path(row["path"]))
            tables.index.append(row)
            tables.labelled.extend(label_rows(item, tables.labels, row, settings.keep_site))
            yield item
        if withdrawn.read() != refused:
            raise DataError(f"{withdrawn.LIST} as it was at the start", "another list", "Start ingest again.")
        reader.forget_others()


def _read_labels(data: Data) -> Labels:
    if data.labels is None:
        return Labels(data.label_level, {}, [], [])
    labels = labels_file.read(data.labels, data.label_level, data.positive, data.targets)
    for name in labels.dropped:
        say(f"ingest: the column {name or '(no name)'} of the labels is left out: it may identify patients")
    return labels


def _check_labels(params: Params, tables: _Tables) -> None:
    """That the labels reach the accepted series, in every class."""
    labels, labelled = tables.labels, tables.labelled
    key = labels_file.KEY_COLUMNS[params.data.label_level]
    if not labelled:
        frame = f"; multi-frame files need a {labels_file.FRAME_COLUMN} beside it" if key == "SOPInstanceUID" else ""
        raise LabelError(
            f"a row in {params.data.labels} whose {key} is that of an accepted series",
            f"none of {len(labels)} keys matches",
            f"Compare its {key} values with those of the DICOM files{frame}.",
        )
    _check_classes(labelled, params.data.targets)


def _check_classes(labelled: list[Row], targets: Targets) -> None:
    """That of every class some units are, and some are not."""
    every = len(labelled)
    counts = targets.encode([row["label"] for row in labelled]).sum(axis=0)
    for name, count in zip(targets.named, counts, strict=True):
        if count in (0, every):
            expected, found = f"accepted series with the class {name!r}, and others without it", f"{count:g} such"
            if targets.kind == "binary":
                expected, found = "accepted series of both classes", f"only label {int(count > 0)}"
            remedy = "Accept more series (section ingest of params.yaml) or label those that were."
            raise LabelError(expected, f"{found} on {every} labelled units", remedy)


def _write(tables: _Tables, more: list[str]) -> None:
    """The tables, sorted by pseudonym; volumes of an earlier run that are no longer in the index go."""
    write_csv(OUT / "index.csv", INDEX_COLUMNS, sorted(tables.index, key=lambda row: row["series"]))
    write_csv(OUT / "labels.csv", [*LABEL_COLUMNS, *more], sorted(tables.labelled, key=lambda row: row["series"]))
    write_csv(OUT / "rejected.csv", REJECTED_COLUMNS, sorted(tables.rejected, key=lambda row: row["source"]))
    current = {Path(row["path"]) for row in tables.index}
    for path in (OUT / "volumes").iterdir():
        if path not in current:
            path.unlink()


def _say_counts(tables: _Tables) -> None:
    index, labelled, rejected = tables.index, tables.labelled, tables.rejected
    patients = len({row["patient"] for row in index})
    unlabelled = len(index) - len({row["series"] for row in labelled})
    say(f"ingest: {len(index)} volumes of {patients} patients accepted, {unlabelled} of them without a label")
    if not labelled:
        say("ingest: data.labels is null, so labels.csv is empty: the stages after this one need labels")
    reasons = Counter(row["reason"] for row in rejected)
    for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
        say(f"ingest: {count} rejected, {reason}: {REASONS[reason]}")


def _explain(params: Params) -> None:
    """Print why each series is taken or left, and write nothing: not even a key where there is none yet.

    Raises:
        DicomError: no such folder.
        ConfigError: the key for pseudonyms cannot be used.
    """
    data, selection = params.data, params.ingest.selection
    names = pseudonyms_of(data.dicom_dir, _key_or_passing)
    reader = Anew(Withdrawals(names, withdrawn.read()).marked)
    found = survey(data.dicom_dir, selection, params.ingest.workers, reader)
    for line in explain.lines(*found, names, selection):
        sys.stdout.write(f"{line}\n")


def _key_or_passing(path: Path) -> bytes:
    """The user's key, or one for this once."""
    if path.is_file():
        return existing_key(path)
    say("ingest: no key yet, so the pseudonyms below are of this output alone; ingest makes the key")
    return secrets.token_bytes(32)


def _resolve(params: Params, token: str) -> None:
    """Print what a pseudonym stands for: to the one who asks, and to no file.

    Raises:
        ConfigError: this machine holds no key.
        DataError: it stands for nothing in the folder of scans.
    """
    meaning = resolve(token, params.data.dicom_dir, pseudonyms_of(params.data.dicom_dir, existing_key))
    if meaning is None:
        expected = "a pseudonym or token of something below data.dicom_dir"
        raise DataError(expected, "one that nothing there has under this key", "Use the scans and key that made it.")
    sys.stdout.write(f"{meaning}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.ingest", description=__doc__)
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--deidentify-to", type=Path, metavar="DIR", help="also write de-identified DICOM below DIR")
    one.add_argument("--explain", action="store_true", help="say why each series is taken or left, and write nothing")
    one.add_argument("--resolve", metavar="TOKEN", help="say what a pseudonym stands for, and do nothing else")
    return parser.parse_args()


if __name__ == "__main__":
    arguments = _arguments()
    if arguments.explain:
        runner.answer("explain", _explain)
    elif arguments.resolve:
        runner.answer("resolve", partial(_resolve, token=arguments.resolve))
    else:
        runner.run("ingest", partial(ingest, deidentify_to=arguments.deidentify_to))
