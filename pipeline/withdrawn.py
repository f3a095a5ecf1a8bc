"""Patients who were withdrawn, by pseudonym; the list is in git, so that ingest refuses them on every machine."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.errors import DataError
from pipeline.files import read_csv, write_csv

LIST = Path("data/withdrawn.csv")

PSEUDONYM = re.compile(r"P-[0-9a-f]{12}")


def read(path: Path = LIST) -> frozenset[str]:
    """The pseudonyms in the list; none where there is no list.

    Raises:
        DataError: something else stands in it.
    """
    patients = [row.get("patient") or "" for row in read_csv(path)] if path.is_file() else []
    if not all(map(PSEUDONYM.fullmatch, patients)):
        # What it is instead may be an identifier.
        raise DataError(
            f"a column `patient` of pseudonyms in {path}", "something else", "Use `python -m pipeline.erase PATIENT`."
        )
    return frozenset(patients)


def add(patient: str, path: Path = LIST) -> bool:
    """Write a pseudonym to the list; whether it is new there."""
    before = read(path)
    write_csv(path, ["patient"], [{"patient": each} for each in sorted(before | {patient})])
    return patient not in before
