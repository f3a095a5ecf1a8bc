"""What is inferred of a volume: plane, 2D or 3D, distance of slices."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.dicom.load import survey
from pipeline.dicom.traits import OBLIQUE_COSINE, plane_of


def traits_of(folder):
    series, _ = survey(folder, workers=1)
    [[verdict]] = series
    return verdict.traits


def tilted(degrees):
    """Axial rows, columns turned from the axial plane towards the coronal."""
    return (1.0, 0.0, 0.0, 0.0, math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("step_mm", [3.0, -3.0])
def test_plane_is_that_of_the_normal(builder, tmp_path, plane, step_mm):
    orientation = getattr(builder, plane.upper())
    builder.save(builder.classic(orientation=orientation, step_mm=step_mm), tmp_path)
    assert traits_of(tmp_path).plane == plane


@pytest.mark.parametrize(("degrees", "plane"), [(20, "axial"), (36, "axial"), (38, "oblique"), (52, "oblique")])
def test_a_tilt_is_oblique_from_37_degrees_on(builder, tmp_path, degrees, plane):
    builder.save(builder.classic(orientation=tilted(degrees)), tmp_path)
    assert traits_of(tmp_path).plane == plane


@given(st.tuples(*[st.floats(-1, 1)] * 3), st.permutations([0, 1, 2]), st.tuples(*[st.sampled_from([-1, 1])] * 3))
def test_plane_follows_the_axes_however_the_patient_is_turned(normal, order, signs):
    length = np.linalg.norm(normal)
    assume(length > 0.1)
    unit = np.array(normal) / length
    assume(np.abs(np.abs(unit) - OBLIQUE_COSINE).min() > 1e-9)
    names = ("sagittal", "coronal", "axial")
    turned = unit[list(order)] * signs
    found, again = plane_of(unit), plane_of(turned)
    expected = "oblique" if found == "oblique" else names[order.index(names.index(found))]
    assert again == expected


def test_enhanced_file_tells_the_same_as_classic_ones(builder, tmp_path):
    ds = builder.enhanced(slices=10)
    ds.MRAcquisitionType, ds.SeriesDate, ds.SeriesTime, ds.SeriesNumber = "3D", "20210617", "101500.5", 4
    builder.save([ds], tmp_path / "enhanced")
    changes = {"MRAcquisitionType": "3D", "SeriesDate": "20210617", "SeriesTime": "101500.5", "SeriesNumber": 4}
    builder.save(builder.classic(FlipAngle=90, **changes), tmp_path / "classic")
    one, two = traits_of(tmp_path / "enhanced"), traits_of(tmp_path / "classic")
    assert (one.plane, one.acquisition_type, one.n_slices, one.step_mm) == ("axial", "3D", 10, 3.0)
    assert dataclasses.replace(one, timing=two.timing) == two
    assert one.start == ("20210617101500.5", 4)
    assert "20210617" not in repr(one)


def test_legacy_converted_file_keeps_what_the_classic_one_said(builder, tmp_path):
    ds = builder.enhanced()
    converted = builder.item(ScanningSequence="SE", RepetitionTime=4500, EchoTime=100, MRAcquisitionType="2D")
    ds.SharedFunctionalGroupsSequence[0].UnassignedSharedConvertedAttributesSequence = [converted]
    builder.save([ds], tmp_path)
    assert traits_of(tmp_path).acquisition_type == "2D"


@pytest.mark.parametrize("said", [None, "", "4D", "OTHER"])
def test_another_word_than_2d_or_3d_is_none(builder, tmp_path, said):
    builder.save(builder.classic(**({} if said is None else {"MRAcquisitionType": said})), tmp_path)
    assert traits_of(tmp_path).acquisition_type == ""


def test_slices_that_differ_in_it_are_neither_2d_nor_3d(builder, tmp_path):
    series = builder.classic(MRAcquisitionType="2D")
    series[4].MRAcquisitionType = "3D"
    builder.save(series, tmp_path)
    assert traits_of(tmp_path).acquisition_type == ""


def test_a_series_number_that_is_none_refuses_no_file(builder, read, tmp_path):
    series = builder.classic()
    for ds in series:
        ds.add_new("SeriesNumber", "LO", "five")
    scans, rejections = read(builder.save(series, tmp_path))
    assert (len(scans), rejections) == (1, [])
    assert traits_of(tmp_path).start == ("", -1)


@pytest.mark.parametrize(
    ("folder", "pattern", "count", "expected"),
    [
        ("dcm_qa_nih/In/20180918GE/mr_0004", "*-000??.dcm", 15, ("?", "axial", "2D", 15, 5.0)),
        ("dcm_qa_philips_enh/In/cl", "1301_*.dcm.gz", 170, ("T1", "sagittal", "3D", 170, 1.0)),
    ],
)
def test_traits_of_scanners_own_files(shared, tmp_path, folder, pattern, count, expected):
    for path in sorted((shared / "data/dicom" / folder).glob(pattern))[:count]:
        (tmp_path / path.name).symlink_to(path)
    found = traits_of(tmp_path)
    assert (found.inference.contrast, found.plane, found.acquisition_type, found.n_slices, found.step_mm) == expected
