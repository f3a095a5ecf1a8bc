"""The tables of ingest: accepted volumes, their labels, and refusals, under pseudonyms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.dicom.labels import Labels
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.reasons import Rejection
from pipeline.dicom.saved import Saved
from pipeline.dicom.scan import Described
from pipeline.progress import say

INDEX_COLUMNS = [
    *("series", "patient", "study", "path", "n_slices", "shape", "spacing_mm", "vendor", "field_strength_t"),
    *("contrast", "sex", "age_years", "source_sha256"),
]
LABEL_COLUMNS = ["series", "patient", "slice_index", "label", "site"]
REJECTED_COLUMNS = ["source", "reason", "message"]

Row = dict[str, Any]


def index_row(scan: Saved, names: Pseudonyms, volumes: Path, keep_sex_age: bool) -> Row:
    """The row of a volume that goes below `volumes`."""
    series = names.volume(scan.series_uid, scan.volume_number)
    return {
        "series": series,
        "patient": names.patient(scan.patient_id),
        "study": names.study(scan.study_uid),
        "path": (volumes / f"{series}.nii.gz").as_posix(),
        "n_slices": scan.shape[0],
        "shape": json.dumps(scan.shape),
        "spacing_mm": json.dumps([round(length, 6) for length in scan.spacing_mm]),
        "vendor": scan.manufacturer,
        "field_strength_t": "" if scan.field_strength_t is None else scan.field_strength_t,
        "contrast": scan.contrast,
        "sex": scan.sex if keep_sex_age else "",
        "age_years": scan.age_years if keep_sex_age and scan.age_years is not None else "",
        "source_sha256": scan.source_sha256,
    }


def label_rows(scan: Described, labels: Labels, row: Row, keep_site: bool) -> list[Row]:
    """One row for the whole series, or for each labelled slice."""
    whose = {"series": row["series"], "patient": row["patient"]}
    return [
        {
            **whose,
            "slice_index": "" if index is None else index,
            "label": unit.label,
            "site": unit.site if keep_site else "",
            **unit.other,
        }
        for index, unit in labels.of(scan)
    ]


def rejected_row(rejection: Rejection, names: Pseudonyms) -> Row:
    """The row of a refused file or series."""
    return {"source": names.token(rejection.source), "reason": rejection.reason, "message": rejection.message}


def shared(labelled: list[Row], columns: list[str]) -> list[str]:
    """The columns whose every value belongs to at least two patients; the others could name one, and go."""
    kept = []
    for name in columns:
        patients: dict[str, set[str]] = {}
        for row in labelled:
            patients.setdefault(row[name], set()).add(row["patient"])
        if min(len(found) for found in patients.values()) > 1:
            kept.append(name)
            continue
        say(f"ingest: the column {name} of the labels is left out: some of its values belong to one patient")
        for row in labelled:
            del row[name]
    return kept
