"""What goes although the table does not name it: free text, wrong VRs, unknown tags, local codes, depth."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import DicomDictionary, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from pipeline.dicom.codes import KEYWORDS as KEYWORDS_OF_CODES
from pipeline.dicom.confidentiality import kept_text
from pipeline.dicom.deidentify import MOST_DEPTH, Options, deidentify
from pipeline.dicom.dummies import TEXT
from pipeline.dicom.pseudonym import Pseudonyms
from tests.dicom.rewriting import reread, written

NAMES = Pseudonyms(b"k" * 32)
CANARY = "Zebrafinch"


CANARY_UID = "1.2.826.0.1.19470309.4711"
KEYWORDS = sorted(entry[4] for entry in DicomDictionary.values() if entry[0] in TEXT and entry[4])


def at_depth(depth: int, element: DataElement) -> Dataset:
    """A data set with the element so many items deep."""
    inner = Dataset()
    inner.add(element)
    for _ in range(depth):
        outer = Dataset()
        outer.ReferencedSeriesSequence = Sequence([inner])
        inner = outer
    return inner


def item(dataset: Dataset, depth: int) -> Dataset:
    for _ in range(depth):
        dataset = dataset.ReferencedSeriesSequence[0]
    return dataset


def raw(keyword: str, vr: str, value: str) -> RawDataElement:
    """An element as a file holds it, right or wrong."""
    content = value.encode() + b" " * (len(value) % 2)
    return RawDataElement(Tag(keyword), vr, len(content), content, 0, False, True)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(KEYWORDS), st.integers(0, 3), st.sampled_from(["Doe^Jane", "山田^太郎", "Ängström", "x"]))
def test_no_text_stays_but_those_on_the_list(keyword, depth, text):
    element = DataElement(Tag(keyword), dictionary_VR(keyword), text, validation_mode=0)
    made = deidentify(at_depth(depth, element), NAMES, Options())
    left = item(made, depth).get(keyword)
    assert left is None or text != left or keyword in kept_text() - KEYWORDS_OF_CODES


def test_every_attribute_of_uids_gets_others():
    """Also those outside the table: a UID leads to the archive that it came from."""
    keywords = [entry[4] for entry in DicomDictionary.values() if entry[0] == "UI" and entry[4]]
    for keyword in keywords:
        made = deidentify(at_depth(1, DataElement(Tag(keyword), "UI", CANARY_UID)), NAMES, Options())
        assert item(made, 1).get(keyword) in (None, NAMES.uid(CANARY_UID)), keyword
    assert len(keywords) > 80


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("RepetitionTime", "LO", CANARY),
        ("Rows", "LT", CANARY),
        ("EchoTime", "UN", CANARY),
        ("EchoTime", "DS", CANARY),
        ("Rows", "US", CANARY),
        ("GridFrameOffsetVector", "DS", CANARY),
        ("RedPaletteColorLookupTableData", "OW", CANARY),
        ("FrameIncrementPointer", "AT", f"{CANARY}xx"),
        ("SimpleFrameList", "UL", f"{CANARY}xx"),
        ("DiffusionGradientOrientation", "FD", f"{CANARY}xxxxxx" + "x" * 8),
        ("ICCProfile", "OB", CANARY),
        ("PatientName", "OB", CANARY),
        ("StudyDate", "LO", CANARY),
        ("SOPInstanceUID", "LO", CANARY),
        ("ReferencedSeriesSequence", "LO", CANARY),
        ("BodyPartExamined", "CS", f"{CANARY} Jane Doe of Elsewhere"),
    ],
)
def test_what_stands_under_a_wrong_vr_or_is_no_such_value_goes(builder, keyword, vr, value):
    ds = builder.classic()[0]
    ds[keyword] = raw(keyword, vr, value)
    made = deidentify(reread(ds), NAMES, Options())
    assert CANARY.encode() not in written(made)


def test_tags_that_nobody_knows_go(builder):
    ds = builder.classic()[0]
    ds.add(DataElement(Tag(0x00281234), "LO", CANARY))
    ds.add(DataElement(Tag(0xFFFCFFFC), "OB", CANARY.encode()))
    made = deidentify(ds, NAMES, Options())
    assert {Tag(0x00281234), Tag(0xFFFCFFFC)}.isdisjoint(made.keys())


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("syngo MR E11", "syngo MR E11"),
        ("27\\LX\\DV26.0_R01_1725.a", ["27", "LX", "DV26.0_R01_1725.a"]),
        ("build 20150525", "REMOVED"),
        ("of 2015-05-25", "REMOVED"),
        ("1.3.12.2.1107.5.2.32", "REMOVED"),
        ("head coil of DOE jane", "REMOVED"),
        ("for MRN-4711", "REMOVED"),
        ("a\\b for Jane", ["a", "REMOVED"]),
    ],
)
def test_dates_uids_and_the_patients_own_name_in_texts_that_stay(builder, text, kept):
    ds = builder.classic()[0]
    ds.SoftwareVersions = text.split("\\") if "\\" in text else text
    made = deidentify(ds, NAMES, Options()).SoftwareVersions
    assert (made if isinstance(made, str) else list(made)) == kept


@pytest.mark.parametrize(
    ("scheme", "value", "kept"),
    [
        ("SCT", "12738006", ("SCT", "12738006", "Brain structure (body structure)")),
        ("DCM", "113100", ("DCM", "113100", "Basic Application Confidentiality Profile")),
        ("SRT", "T-A0100", ("SRT", "T-A0100", "T-A0100")),
        ("SCT", CANARY, ("REMOVED", "REMOVED", "REMOVED")),
        ("99LOCAL", "1", ("REMOVED", "REMOVED", "REMOVED")),
        (CANARY, "12738006", ("REMOVED", "REMOVED", "REMOVED")),
    ],
)
def test_codes_of_the_standard_stay_with_its_own_words(builder, scheme, value, kept):
    ds = builder.classic()[0]
    ds.AnatomicRegionSequence = [builder.item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=CANARY)]
    item = deidentify(ds, NAMES, Options()).AnatomicRegionSequence[0]
    assert (item.CodingSchemeDesignator, item.CodeValue, item.CodeMeaning) == kept


def test_items_that_are_too_deep_go(builder):
    inner = builder.item(PatientComments=CANARY)
    for _ in range(MOST_DEPTH + 40):
        inner = builder.item(ReferencedSeriesSequence=[inner])
    made = deidentify(inner, NAMES, Options())
    depth = 0
    while "ReferencedSeriesSequence" in made:
        made, depth = made.ReferencedSeriesSequence[0], depth + 1
    assert depth == MOST_DEPTH


def test_texts_in_another_character_set_are_written_as_utf_8(builder):
    ds = builder.classic(
        SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう"
    )[0]
    ds.Manufacturer = "東芝"
    ds = reread(ds)
    made = reread(deidentify(ds, NAMES, Options()))
    assert (made.SpecificCharacterSet, made.Manufacturer) == ("ISO_IR 192", "東芝")
    assert made.PatientName == NAMES.patient(ds.PatientID)
