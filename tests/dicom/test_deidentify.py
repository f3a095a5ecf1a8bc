"""Each row of the table at each depth, the options, the markers, and that what is left is still an image."""

from __future__ import annotations

import functools
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pipeline.dicom.confidentiality import rules
from pipeline.dicom.deidentify import Options, deidentify
from pipeline.dicom.header import DAMAGED
from pipeline.dicom.pseudonym import Pseudonyms

NAMES = Pseudonyms(b"k" * 32)
CANARY = "Zebrafinch"
CANARY_UID = "1.2.826.0.1.19470309.4711"

#: Sequences that stay, one in another: the way to depth 1, 2 and 3.
WAY = ("SharedFunctionalGroupsSequence", "ReferencedSeriesSequence", "AnatomicRegionSequence")

#: A value for each VR that tells where it came from.
PLANTED: dict[str, Any] = {
    **dict.fromkeys(("LO", "LT", "PN", "SH", "ST", "UC", "UT"), f"{CANARY}^Jane"),
    "AE": "ZEBRAFINCH",
    "CS": "ZEBRAFINCH",
    "UR": f"http://{CANARY}.org",
    "UI": CANARY_UID,
    "AS": "074Y",
    "DA": "19470309",
    "TM": "091843",
    "DT": "19470309091843",
    "DS": "47.11",
    "IS": "4711",
    "US": 4711,
    **dict.fromkeys(("OB", "OW", "UN"), CANARY.encode()),
}


def planted(row: Any) -> DataElement:
    tag, vr = Tag(row.tag.replace("x", "0")), row.vr or "OB"
    value = PLANTED[vr] if vr != "SQ" else Sequence([_person()])
    return DataElement(tag, vr, value)


def _person() -> Dataset:
    item = Dataset()
    item.PatientName = item.CodeMeaning = item.TextValue = f"{CANARY}^Jane"
    item.PatientID, item.ReferencedSOPInstanceUID, item.NumericValue = CANARY, CANARY_UID, "98.76"
    item.add(DataElement(Tag(0x00090010), "LO", CANARY))
    item.ConceptNameCodeSequence = Sequence([Dataset()])
    item.ConceptNameCodeSequence[0].CodeValue = CANARY
    item.ConceptNameCodeSequence[0].CodeMeaning = CANARY
    return item


def at_depth(depth: int, element: DataElement) -> Dataset:
    """A data set with the element so many items deep."""
    inner = Dataset()
    inner.add(element)
    for keyword in reversed(WAY[:depth]):
        outer = Dataset()
        setattr(outer, keyword, Sequence([inner]))
        inner = outer
    inner.PatientID = inner.get("PatientID") or "MRN-1"
    return inner


def inside(dataset: Dataset, depth: int) -> Dataset:
    for keyword in WAY[:depth]:
        dataset = dataset[keyword].value[0]
    return dataset


def values(dataset: Dataset) -> Iterator[str]:
    """Every value of every element, as text."""
    for element in dataset.iterall():
        if element.VR != "SQ":
            for value in element.value if element.VM > 1 else [element.value]:
                yield value.decode("latin-1") if isinstance(value, bytes) else str(value)


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_every_row_of_the_table(depth):
    seen = 0
    for row in rules():
        element = planted(row)
        original = str(PLANTED.get(element.VR, CANARY))
        made = deidentify(at_depth(depth, element), NAMES, Options())
        left = inside(made, depth)
        assert not [value for value in values(made) if re.search(CANARY, value, re.I)], row
        assert CANARY_UID not in values(made), row
        if element.tag in left and not (depth == 0 and row.keyword in ("PatientName", "PatientID")):
            assert str(left[element.tag].value) != original, row
            if row.action == "D":
                assert not left[element.tag].is_empty, row
                assert "98.76" not in values(made), row
            if row.action == "Z" and not row.option:
                assert left[element.tag].is_empty, row
        stays = element.tag.group > 4 and (row.action != "X" or row.option == "dates")
        assert (element.tag in left) == (stays or (depth == 0 and row.keyword == "PatientName")), row
        seen += 1
    assert seen == 620


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_every_row_as_it_stands_in_a_file(syntax):
    """One file that holds the whole table; command, meta and directory groups cannot stand in it."""
    whole = Dataset()
    for row in rules():
        element = planted(row)
        if element.tag.group > 4 and element.VR != "OB":
            whole.add(element)
    whole.PatientID = "MRN-1"
    bytes_in = written(whole, syntax)
    assert CANARY.encode() in bytes_in
    made = deidentify(dcmread(io.BytesIO(bytes_in), force=True), NAMES, Options())
    bytes_out = written(made, ExplicitVRLittleEndian)
    for value in (CANARY, "ZEBRAFINCH", CANARY_UID, "19470309", "091843", "47.11"):
        assert value.encode() not in bytes_out


def written(dataset: Dataset, syntax: str) -> bytes:
    target = io.BytesIO()
    dataset.save_as(target, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=syntax != ExplicitVRBigEndian)
    return target.getvalue()


@functools.cache
def planted_file() -> bytes:
    whole = Dataset()
    for row in rules():
        if planted(row).tag.group > 4 and row.vr not in ("", "UN"):
            whole.add(planted(row))
    whole.PatientID, whole.SharedFunctionalGroupsSequence = "MRN-1", Sequence([at_depth(2, planted(rules()[40]))])
    return written(whole, ExplicitVRLittleEndian)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, len(planted_file()) - 1), st.integers(0, 7)), max_size=20))
def test_damaged_data_sets_are_de_identified_or_refused(flips):
    content = bytearray(planted_file())
    for place, bit in flips:
        content[place] ^= 1 << bit
    with suppress(*DAMAGED, OSError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = dcmread(io.BytesIO(bytes(content)), force=True)
        made = deidentify(found, NAMES, Options())
        assert made.PatientIdentityRemoved == "YES"
        assert CANARY.encode() not in written(made, ExplicitVRLittleEndian)


def test_what_the_image_needs_stays(builder):
    for ds in (builder.enhanced(), builder.classic()[0]):
        made = deidentify(ds, NAMES, Options())
        for keyword in ("Rows", "Columns", "ImageType", "SOPClassUID", "Modality", "PixelData", "Manufacturer"):
            assert made[keyword].value == ds[keyword].value
    assert made.ImagePositionPatient == ds.ImagePositionPatient
    assert made.RepetitionTime == ds.RepetitionTime


def test_functional_groups_stay_as_they_are(builder):
    ds = builder.enhanced()
    made = deidentify(ds, NAMES, Options())
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        assert made[keyword].value == ds[keyword].value


def test_the_source_is_not_changed(builder):
    ds, again = builder.classic()[0], builder.classic()[0]
    deidentify(ds, NAMES, Options(keep_sex_age=True))
    assert ds == again


@pytest.mark.parametrize(
    ("age", "birth", "kept"),
    [
        ("074Y", "", "074Y"),
        ("018M", "", "018M"),
        ("089Y", "", "089Y"),
        ("090Y", "", "090Y"),
        ("097Y", "", "090Y"),
        ("999W", "", "999W"),
        ("", "19200101", "090Y"),
        ("", "19800101", "041Y"),
        ("old", "", None),
        ("", "", None),
    ],
)
def test_sex_and_age_stay_where_declared(builder, age, birth, kept):
    ds = builder.classic(PatientBirthDate=birth, StudyDate="20210617")[0]
    ds.add(DataElement(Tag("PatientAge"), "AS", age, validation_mode=0))
    made = deidentify(ds, NAMES, Options(keep_sex_age=True))
    assert (made.PatientSex, made.get("PatientAge")) == ("F", kept)
    assert not made.PatientBirthDate
    without = deidentify(ds, NAMES, Options())
    assert (without.PatientSex or "", without.get("PatientAge")) == ("", None)


def test_a_sex_that_is_none_goes(builder):
    ds = builder.classic()[0]
    ds.add(DataElement(Tag("PatientSex"), "CS", "JANE", validation_mode=0))
    assert deidentify(ds, NAMES, Options(keep_sex_age=True)).PatientSex == ""


@pytest.mark.parametrize(("keep", "codes"), [(True, "113100 113107 113108 113111"), (False, "113100 113107 113111")])
def test_markers(builder, keep, codes):
    made = deidentify(builder.classic()[0], NAMES, Options(keep_sex_age=keep))
    assert (made.PatientIdentityRemoved, made.LongitudinalTemporalInformationModified) == ("YES", "MODIFIED")
    assert "PS3.15" in made.DeidentificationMethod[0]
    assert [item.CodeValue for item in made.DeidentificationMethodCodeSequence] == codes.split()
    assert all(item.CodingSchemeDesignator == "DCM" for item in made.DeidentificationMethodCodeSequence)
    assert made.RecognizableVisualFeatures == "YES"


def test_a_knee_shows_no_face(builder):
    made = deidentify(builder.classic(BodyPartExamined="KNEE")[0], NAMES, Options())
    assert "RecognizableVisualFeatures" not in made


def test_uids_refer_to_each_other_as_before(builder):
    one, two = builder.classic(slices=2)
    reference = builder.item(ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID)
    two.ReferencedImageSequence = Sequence([reference])
    first, second = (deidentify(ds, NAMES, Options()) for ds in (one, two))
    assert second.ReferencedImageSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID != one.SOPInstanceUID
    assert second.ReferencedImageSequence[0].ReferencedSOPClassUID == one.SOPClassUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert first.PatientID == NAMES.patient(one.PatientID)
    other = deidentify(one, Pseudonyms(b"l" * 32), Options())
    assert not {other.SOPInstanceUID, other.PatientID} & {first.SOPInstanceUID, first.PatientID}


def test_dates_of_one_patient_keep_their_intervals_and_those_of_two_do_not_move_alike(builder):
    def study(patient, date):
        return deidentify(builder.classic(patient=patient, StudyDate=date, StudyTime="1830")[0], NAMES, Options())

    early, late, other = study("a", "20210617"), study("a", "20210719"), study("b", "20210617")
    assert early.StudyDate < "20210617"
    assert _days(late.StudyDate) - _days(early.StudyDate) == 32
    assert other.StudyDate != early.StudyDate
    assert early.StudyTime == late.StudyTime != "1830"


def _days(date: str) -> int:
    return datetime.strptime(date, "%Y%m%d").toordinal()
