from __future__ import annotations

import pytest
from pydicom.dataelem import DataElement
from pydicom.tag import Tag

from pipeline.dicom.burned_in import refusal
from pipeline.dicom.reasons import REASONS


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"BurnedInAnnotation": "NO"}, None),
        ({"BurnedInAnnotation": ""}, None),
        ({"BurnedInAnnotation": "YES"}, "burned_in"),
        ({"BurnedInAnnotation": "yes"}, "burned_in"),
        ({"BurnedInAnnotation": "MAYBE"}, "burned_in"),
        ({"ImageType": ["DERIVED", "PRIMARY"]}, "burned_in"),
        ({"ImageType": ["MIXED", "PRIMARY"]}, "burned_in"),
        ({"ImageType": None}, "burned_in"),
        ({"ImageType": "ORIGINAL"}, None),
        ({"Modality": "US"}, "burned_in"),
        ({"Modality": None}, "burned_in"),
    ],
)
def test_only_original_mr_without_the_flag_passes(builder, changes, reason):
    ds = builder.item(Modality="MR", ImageType=["ORIGINAL", "PRIMARY", "OTHER"])
    for keyword, value in changes.items():
        ds[keyword] = DataElement(Tag(keyword), "CS", value, validation_mode=0)
    assert refusal(ds) == reason
    assert reason is None or reason in REASONS
