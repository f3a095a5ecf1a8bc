"""The labels file: a CSV whose key column is a DICOM keyword, and which series or slices its rows belong to."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from pydicom.datadict import keyword_dict

from pipeline.contract import LabelLevel
from pipeline.dicom import classes
from pipeline.dicom.scan import Described
from pipeline.errors import LabelError
from pipeline.targets import BINARY, Targets

KEY_COLUMNS: dict[LabelLevel, str] = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "slice": "SOPInstanceUID",
}
FRAME_COLUMN = "FrameNumber"

#: A further column is one of categories with at most so many values; text that is free or names a patient has more.
MOST_CATEGORIES = 10

#: A value like a date or a UID identifies, whatever its column is called.
_IDENTIFYING = re.compile(r"(19|20)\d{6}|\d{4}-\d\d?-\d\d?.*|\d\d?[./]\d\d?[./]\d{2,4}|[0-2](\.\d+){4,}")

#: Column names that say nothing but identifiers, or are ours; in lower case, letters and digits alone.
_TAKEN = {"", "series", "patient", "sliceindex", *map(str.lower, keyword_dict)}

Key = tuple[str, int | None]
Row = dict[str, str]


@dataclass(frozen=True)
class Label:
    """The label of one unit.

    Attributes:
        label: `0` or `1`; places in data.classes where there are several, see `pipeline.targets`.
        site: the value of the column `site`; empty where there is none.
        other: values of the columns that are kept beside it.
    """

    label: str
    site: str
    other: Row


class Labels:
    """All labels of a file at one level.

    Attributes:
        columns: names of the columns that are kept beside `label` and `site`.
        dropped: names of those that are not, as they may identify: all but columns of few categories, and of these
            DICOM keywords, dates, keys and UIDs.
    """

    def __init__(self, level: LabelLevel, labels: dict[Key, Label], columns: list[str], dropped: list[str]) -> None:
        self.columns, self.dropped = columns, dropped
        self._level, self._labels = level, labels

    def __len__(self) -> int:
        return len(self._labels)

    def of(self, scan: Described) -> list[tuple[int | None, Label]]:
        """Slice (from 0; None for the whole series) and label of each labelled unit; unlabelled ones are left out."""
        whole = {"patient": scan.patient_id, "study": scan.study_uid, "series": scan.series_uid}
        if self._level != "slice":
            label = self._labels.get((whole[self._level], None))
            return [] if label is None else [(None, label)]
        found = ((index, self._of_slice(*key)) for index, key in enumerate(scan.slice_keys))
        return [(index, label) for index, label in found if label is not None]

    def _of_slice(self, sop_uid: str, frame: int | None) -> Label | None:
        """A single-frame file is the same with FrameNumber 1 as without."""
        if frame is not None:
            return self._labels.get((sop_uid, frame))
        return self._labels.get((sop_uid, None)) or self._labels.get((sop_uid, 1))


def read(path: Path, level: LabelLevel, positive: str | None, targets: Targets = BINARY) -> Labels:
    """Read and check a labels file.

    Args:
        path: a CSV in UTF-8.
        level: picks the key column, see `KEY_COLUMNS`; others may stand beside it.
        positive: the class that counts as 1, when labels are two names; None: they are 0 and 1.
        targets: what the labels mean.

    Raises:
        LabelError: no such file, an empty or unreadable one, no key column or `label` column, labels that are none of
            the classes or miss one, one key with two labels.
    """
    columns, rows = _read_rows(path)
    key_column = _key_column(path, level, columns)
    if "label" not in columns:
        raise LabelError(f"a column `label` in {path}", _named(columns), "Name the column of classes `label`.")
    encoded = classes.encoded(path, [(line, row["label"]) for line, row in rows], targets, positive)
    kept, dropped = _other_columns(columns, [row for _, row in rows])
    labels: dict[Key, Label] = {}
    first_line: dict[Key, int] = {}
    for line, row in rows:
        key = (row[key_column], _frame(path, row, line) if level == "slice" else None)
        if not key[0]:
            raise LabelError(f"a {key_column} in every row of {path}", f"none in line {line}", "Fill it in.")
        label = Label(encoded[row["label"]], row.get("site", ""), {name: row[name] for name in kept})
        for same in (key, _twin(key)):
            if same in labels and labels[same].label != label.label:
                raise _contradiction(path, level, (first_line[same], line))
        labels.setdefault(key, label)
        first_line.setdefault(key, line)
    return Labels(level, labels, kept, dropped)


def _twin(key: Key) -> Key:
    """The other way to name the slice of a single-frame file: FrameNumber 1, or none."""
    sop_uid, frame = key
    return sop_uid, {None: 1, 1: None}.get(frame, frame)


def _read_rows(path: Path) -> tuple[list[str], list[tuple[int, Row]]]:
    """Column names, and line and values of each row; blanks around them are dropped, and so are empty lines."""
    if not path.is_file():
        raise LabelError(f"the labels in {path}", "no such file", "Set data.labels to a CSV file.")
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            reader = csv.reader(handle, strict=True)
            table = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"a CSV file in UTF-8 in {path}", type(error).__name__, "Save it as CSV (UTF-8).") from error
    if len(table) < 2:
        found = "column names alone" if table else "an empty file"
        raise LabelError(f"column names and rows in {path}", found, "Write one row for each label.")
    columns = table[0][1]
    if len(set(columns)) < len(columns):
        raise LabelError(f"each column once in {path}", _named(columns), "Rename or drop one of them.")
    for line, row in table[1:]:
        if len(row) != len(columns):
            found = f"{len(row)} in line {line}"
            raise LabelError(f"{len(columns)} values in every row of {path}", found, "Mend that line.")
    return columns, [(line, dict(zip(columns, row, strict=True))) for line, row in table[1:]]


def _named(columns: list[str]) -> str:
    """The column names for a message; not quoted where the first line may be a patient's row."""
    if any(name == "label" or (name and name in keyword_dict) for name in columns):
        return f"columns {', '.join(columns)}"
    return f"{len(columns)} columns, none of them known; is the first line the column names?"


def _key_column(path: Path, level: LabelLevel, columns: list[str]) -> str:
    key = KEY_COLUMNS[level]
    if key in columns:
        return key
    others = [other for other, name in KEY_COLUMNS.items() if name in columns]
    if others:
        expected = f"a column {key}, the key for data.label_level: {level}, in {path}"
        remedy = f"Add it, or set data.label_level: {others[-1]}."
    else:
        expected = f"a known key column in {path}: {', '.join(KEY_COLUMNS.values())}"
        remedy = f"Name the key column by its DICOM keyword, {key} for data.label_level: {level}."
    raise LabelError(expected, _named(columns), remedy)


def _frame(path: Path, row: Row, line: int) -> int | None:
    text = row.get(FRAME_COLUMN, "")
    if text and not re.fullmatch(r"[1-9]\d*(\.0)?", text):
        raise LabelError(f"a {FRAME_COLUMN} from 1 in {path}", f"another value in line {line}", "Count frames from 1.")
    return int(float(text)) if text else None


def _other_columns(columns: list[str], rows: list[Row]) -> tuple[list[str], list[str]]:
    """Columns beside key, label and site: those to keep, those to drop."""
    keys = [name for name in columns if name in {*KEY_COLUMNS.values(), FRAME_COLUMN}]
    uids = [name for name in keys if name != FRAME_COLUMN]
    others = [name for name in columns if name not in {"label", "site", *keys}]
    dropped = [
        name
        for name in others
        if not _categorical([row[name] for row in rows])
        or re.sub(r"[\W_]", "", name.lower()) in _TAKEN
        or any(_IDENTIFYING.fullmatch(row[name]) or row[name] in {row[key] for key in uids} for row in rows)
    ]
    return [name for name in others if name not in dropped], dropped


def _categorical(values: list[str]) -> bool:
    """Whether these are few categories, each for several rows, and no text of its own for each."""
    distinct = len(set(values))
    return distinct <= MOST_CATEGORIES and 2 * distinct < len(values)


def _contradiction(path: Path, level: LabelLevel, lines: tuple[int, int]) -> LabelError:
    remedy = "Keep one of them" + ("." if level == "slice" else f", or set a finer data.label_level than {level}.")
    found = f"lines {lines[0]} and {lines[1]} contradict each other"
    return LabelError(f"one label for each {KEY_COLUMNS[level]} in {path}", found, remedy)
