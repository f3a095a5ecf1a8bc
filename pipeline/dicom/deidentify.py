"""The Basic Application Level Confidentiality Profile (PS3.15 E.1) on a data set, at every depth.

Options that are taken: retain longitudinal temporal information with modified dates, retain safe private, and, where it
is declared, retain patient characteristics (sex and age alone). Nothing is claimed for pixels, graphics or free text;
text outside the table is replaced all the same, unless it is on the list of what comes from the scanner.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import dictionary_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from pipeline.dicom import codes
from pipeline.dicom.clock import Clock
from pipeline.dicom.confidentiality import Rule, kept_text, rule
from pipeline.dicom.dummies import (
    DATES,
    NUMERIC,
    REMOVED,
    TEXT,
    as_list,
    dummy,
    empty,
    mapped,
    number_or_code,
    telling,
    vr_of,
)
from pipeline.dicom.patient import capped_age
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.safe_private import safe_elements
from pipeline.dicom.values import UNREADABLE

#: Items deeper than this are dropped; MR of every vendor stays below 8.
MOST_DEPTH = 24

#: DeidentificationMethodCodeSequence (CID 7050).
_BASIC, _DATES, _CHARACTERISTICS, _PRIVATE = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
    ("113111", "Retain Safe Private Option"),
)

_PIXELS = frozenset({0x7FE00010})
#: Commands, file meta information and directory records (PS3.5 7.1): none of them may stand in a data set.
_NO_DATA = (0x0000, 0x0002, 0x0004)

_CHARACTER_SET = 0x00080005
_SEXES = ("M", "F", "O")

#: BodyPartExamined (PS3.16 annex L) of scans that can show a face; one that does not say where it was taken can, too.
_WITH_A_FACE = ("BRAIN", "CSPINE", "FACE", "HEAD", "HEADNECK", "NECK", "SKULL", "WHOLEBODY")


@dataclass(frozen=True)
class Options:
    """What is kept because it was declared.

    Attributes:
        keep_sex_age: PatientSex, and PatientAge capped at `patient.AGE_CAP_YEARS`.
    """

    keep_sex_age: bool = False


def deidentify(dataset: Any, names: Pseudonyms, options: Options) -> Dataset:
    """A new data set without what identifies; the pixels, and nothing else that is bulk, are taken as they are.

    Args:
        dataset: a pydicom data set, with or without its file meta information, which is not taken over.
        names: the key: pseudonyms, UIDs and the patient's clock hang on it alone.
        options: what may stay.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the parser's warnings quote values
        patient_id = str(_value(dataset, "PatientID") or "").strip()
        made = _Profile(names, names.clock(patient_id), telling(_persons(dataset))).level(dataset, depth=0)
        if _CHARACTER_SET in made:
            made.SpecificCharacterSet = "ISO_IR 192"
        made.PatientName = made.PatientID = names.patient(patient_id)
        _ages(made, dataset, options)
        _mark(made, options)
    return made


class _Profile:
    """The profile for one patient's data set."""

    def __init__(self, names: Pseudonyms, clock: Clock, tells: Callable[[str], bool]) -> None:
        self._names, self._clock, self._tells = names, clock, tells

    def level(self, source: Any, depth: int, disguise: bool = False) -> Dataset:
        """One data set or item; with `disguise` each value but CS gets a dummy, as D means it for a sequence."""
        made = Dataset()
        coded = any(tag in source for tag in codes.TAGS)
        meaning = (
            codes.meaning(_value(source, "CodingSchemeDesignator"), _value(source, "CodeValue")) if coded else None
        )
        for tag in list(source.keys()):
            if tag.is_private or tag.group in _NO_DATA or (tag == _CHARACTER_SET and depth):
                continue
            found = _element(source, tag)
            kept = self._element(source, tag, found, depth, disguise)
            if kept is not None:
                made.add(_code_text(kept, meaning) if coded else kept)
        if not disguise:
            for kept in safe_elements(source):
                made.add(kept)
        return made

    def _element(self, source: Any, tag: Any, found: Any, depth: int, disguise: bool) -> DataElement | None:
        row = rule(tag)
        if row is not None:
            return self._listed(source, row, tag, found, depth, disguise)
        vr = None if found is None else vr_of(tag, found.VR)
        if vr is None or tag in _PIXELS:
            return found if tag in _PIXELS and depth == 0 else None
        if vr == "SQ":
            return self._sequence(tag, found.value, depth, disguise)
        if vr == "UI":
            return DataElement(tag, vr, mapped(found.value, self._names.uid))
        if vr in DATES:
            return self._moved(source, tag, vr, found.value)
        if vr in TEXT:
            if not found.value or (dictionary_keyword(tag) in kept_text() and not disguise):
                return DataElement(tag, vr, mapped(found.value, lambda text: REMOVED if self._tells(text) else text))
            return dummy(tag, vr)
        return dummy(tag, vr) if disguise and vr in NUMERIC else _checked(tag, vr, found.value)

    def _listed(self, source: Any, row: Rule, tag: Any, found: Any, depth: int, disguise: bool) -> DataElement | None:
        """An attribute of the table."""
        value = None if found is None else found.value
        if row.option == "sex_age":
            return empty(tag, row.vr) if row.action == "Z" else None  # the patient's own come later, see `_ages`
        if row.option == "dates" and found is not None:
            moved = self._moved(source, tag, row.vr, value)
            if moved is not None:
                return moved
        if row.action == "X":
            return None
        if row.action == "Z":
            return empty(tag, row.vr)
        if row.vr == "SQ":
            # D: the items stay, each value in them a dummy. U: the items stay, and the profile goes on in them.
            return self._sequence(tag, value, depth, disguise or row.action == "D")
        if row.action == "U":
            return DataElement(tag, "UI", mapped(value, self._names.uid) or "")
        if row.keyword == "PatientID":
            return DataElement(tag, "LO", self._names.patient(str(value or "").strip()))
        return dummy(tag, row.vr)

    def _sequence(self, tag: Any, value: Any, depth: int, disguise: bool) -> DataElement | None:
        if not isinstance(value, Sequence) or depth >= MOST_DEPTH:
            return None
        return DataElement(tag, "SQ", Sequence(self.level(item, depth + 1, disguise) for item in value))

    def _moved(self, source: Any, tag: Any, vr: str, value: Any) -> DataElement | None:
        """A date or time by the patient's clock; None if it holds none."""
        if vr == "DT":
            moved = mapped(value, self._clock.moment)
        elif vr == "TM":
            moved = mapped(value, self._clock.time)
        else:
            time = _time_beside(source, dictionary_keyword(tag)) if len(as_list(value or "")) == 1 else ""
            moved = mapped(value, lambda date: self._clock.date(date, time))
        return None if moved is None else DataElement(tag, vr, moved)


def _element(source: Any, tag: Any) -> Any:
    """The element, or None if its value cannot be read."""
    try:
        return source[tag]
    except UNREADABLE:
        return None


def _persons(dataset: Any) -> list[str]:
    """The identifiers that are most likely to be written somewhere else, too."""
    keywords = ("PatientName", "PatientID", "AccessionNumber", "ReferringPhysicianName", "OperatorsName")
    return [str(_value(dataset, keyword) or "") for keyword in keywords]


def _value(source: Any, keyword: str) -> Any:
    try:
        return source.get(keyword)
    except UNREADABLE:
        return None


def _checked(tag: Any, vr: str, value: Any) -> DataElement | None:
    """An element outside the table that holds numbers or codes; bulk and unknown VRs go."""
    try:
        return number_or_code(tag, vr, value)
    except UNREADABLE:
        return None


def _time_beside(source: Any, date_keyword: str) -> str:
    """The time of day that belongs to a date: StudyTime to StudyDate, TimeOfX to DateOfX; empty where there is none."""
    value = _value(source, date_keyword.replace("Date", "Time"))
    return value if isinstance(value, str) else ""


def _code_text(kept: DataElement, meaning: str | None) -> DataElement:
    """An element of a code item: the scheme's own meaning; of a code of somebody's own, nothing."""
    if kept.keyword not in codes.KEYWORDS or not kept.value:
        return kept
    if meaning is None:
        return DataElement(kept.tag, kept.VR, REMOVED)
    return DataElement(kept.tag, kept.VR, meaning) if kept.keyword == "CodeMeaning" else kept


def _ages(made: Dataset, source: Any, options: Options) -> None:
    """Sex and age of the patient, where they may stay."""
    if not options.keep_sex_age:
        return
    sex = str(_value(source, "PatientSex") or "").strip().upper()
    made.PatientSex = sex if sex in _SEXES else ""
    age = capped_age(
        *(str(_value(source, keyword) or "") for keyword in ("PatientAge", "PatientBirthDate", "StudyDate"))
    )
    if age:
        made.PatientAge = age


def _mark(made: Dataset, options: Options) -> None:
    """The markers (PS3.15 E.1.1 step 6, PS3.3 C.7.1.1 and C.12.1), and that a face may be seen."""
    taken = [_BASIC, _DATES, *([_CHARACTERISTICS] if options.keep_sex_age else []), _PRIVATE]
    made.PatientIdentityRemoved = "YES"
    made.DeidentificationMethod = ["PS3.15 2024b Basic Application Level Confidentiality Profile", "mri-transfer"]
    made.DeidentificationMethodCodeSequence = Sequence(_code(value, meaning) for value, meaning in taken)
    made.LongitudinalTemporalInformationModified = "MODIFIED"
    if str(made.get("BodyPartExamined") or "HEAD") in _WITH_A_FACE:
        made.RecognizableVisualFeatures = "YES"


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
