"""A good enhanced file with one fault."""

from __future__ import annotations

import pytest

from pipeline.dicom.reasons import Rejection

ENHANCED_FAULTS = {
    "no functional groups": (lambda ds: delattr(ds, "PerFrameFunctionalGroupsSequence"), "no_geometry"),
    "fewer groups than frames": (lambda ds: ds.PerFrameFunctionalGroupsSequence.pop(), "no_geometry"),
    "no orientation": (
        lambda ds: delattr(ds.SharedFunctionalGroupsSequence[0], "PlaneOrientationSequence"),
        "no_geometry",
    ),
    "empty shared group": (lambda ds: setattr(ds, "SharedFunctionalGroupsSequence", []), "no_geometry"),
    "phase": (
        lambda ds: setattr(
            ds.SharedFunctionalGroupsSequence[0].MRImageFrameTypeSequence[0], "ComplexImageComponent", "PHASE"
        ),
        "not_magnitude",
    ),
}


@pytest.mark.parametrize("name", ENHANCED_FAULTS)
def test_enhanced_fault_is_refused_by_its_reason(builder, read, tmp_path, name):
    fault, reason = ENHANCED_FAULTS[name]
    ds = builder.enhanced()
    fault(ds)
    assert read(builder.save([ds], tmp_path)) == ([], [Rejection(ds.SeriesInstanceUID, reason)])


def test_enhanced_gap_and_duplicates_are_refused(builder, read, tmp_path):
    orders = {
        "missing_slice": [0, 1, 2, 4, 5],
        "duplicate_slice": [0, 1, 2, 2, 3, 4],
        "multi_volume": [0, 1, 2, 0, 1, 2, 0, 1, 1, 2],
    }
    for reason, order in orders.items():
        ds = builder.enhanced(reason, order=order)
        assert read(builder.save([ds], tmp_path / reason)) == ([], [Rejection(ds.SeriesInstanceUID, reason)])
