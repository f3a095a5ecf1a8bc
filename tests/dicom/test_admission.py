"""One test for each reason: a good series with one fault."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.uid import (
    ComprehensiveSRStorage,
    CTImageStorage,
    EnhancedMRColorImageStorage,
    RTPlanStorage,
    SecondaryCaptureImageStorage,
)

from pipeline.contract import Selection
from pipeline.dicom.reasons import REASONS, Rejection


def each(**values):
    """A fault that sets the same values on every slice."""
    return lambda series, builder: [setattr(ds, keyword, value) for ds in series for keyword, value in values.items()]


def at(index, **values):
    """A fault that sets values on one slice."""
    return lambda series, builder: [setattr(series[index], keyword, value) for keyword, value in values.items()]


def without(*keywords):
    return lambda series, builder: [delattr(ds, keyword) for ds in series for keyword in keywords]


def drop(*indices):
    return lambda series, builder: [series.pop(index) for index in sorted(indices, reverse=True)]


def move(index, shift_mm):
    def fault(series, builder):
        moved = np.add(series[index].ImagePositionPatient, shift_mm)
        series[index].ImagePositionPatient = [float(x) for x in moved]

    return fault


def add(name, **changes):
    """A fault that adds another series' slices to this one, at the same places."""

    def fault(series, builder):
        for ds in builder.classic(name, len(series), **changes):
            ds.SeriesInstanceUID, ds.StudyInstanceUID = series[0].SeriesInstanceUID, series[0].StudyInstanceUID
            ds.FrameOfReferenceUID = series[0].FrameOfReferenceUID
            series.append(ds)

    return fault


def planes(*names):
    """A fault that turns a third of the slices, or so, into each plane."""

    def fault(series, builder):
        for index, ds in enumerate(series):
            ds.ImageOrientationPatient = list(getattr(builder, names[index % len(names)]))

    return fault


def copy_first(series, builder):
    """A second slice where the first stands."""
    series.append(builder.classic(slices=len(series) + 1)[-1])
    series[-1].ImagePositionPatient = series[0].ImagePositionPatient


def same_uid(series, builder):
    series[3].SOPInstanceUID = series[5].SOPInstanceUID


def as_plan(series, builder):
    for ds in series:
        ds.SOPClassUID, ds.Modality = RTPlanStorage, "RTPLAN"
        for keyword in ("Rows", "Columns", "PixelData"):
            delattr(ds, keyword)


def as_report(series, builder):
    for ds in series:
        ds.SOPClassUID, ds.Modality = ComprehensiveSRStorage, "SR"
        for keyword in ("Rows", "Columns", "PixelData"):
            delattr(ds, keyword)


def lean(series, builder):
    """Slices that shift sideways, as under a tilted gantry."""
    for index in range(len(series)):
        move(index, (0.4 * index, 0, 0))(series, builder)


def cut_pixels(series, builder):
    series[2].PixelData = series[2].PixelData[:-50]


FAULTS = {
    "CT": (each(SOPClassUID=CTImageStorage, Modality="CT"), "not_mr"),
    "another modality's label": (each(Modality="CT"), "not_mr"),
    "RT plan": (as_plan, "not_an_image"),
    "no PatientID": (without("PatientID"), "no_identity"),
    "blank PatientID": (each(PatientID=" "), "no_identity"),
    "no study": (without("StudyInstanceUID"), "no_identity"),
    "two patients": (at(4, PatientID="MRN-0815"), "mixed_patient"),
    "two studies": (at(4, StudyInstanceUID="1.2.3"), "mixed_patient"),
    "one UID twice": (same_uid, "duplicate_instance"),
    "localizer by type": (each(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "localizer"),
    "localizer by planes": (planes("AXIAL", "CORONAL", "SAGITTAL"), "localizer"),
    "derived": (each(ImageType=["DERIVED", "PRIMARY", "MPR"]), "derived"),
    "diffusion map that is called original": (each(ImageType=["ORIGINAL", "PRIMARY", "ADC", "ND"]), "derived"),
    "projection": (each(ImageType=["ORIGINAL", "PRIMARY", "PROJECTION IMAGE", "M"]), "derived"),
    "text in one slice": (at(9, BurnedInAnnotation="YES"), "burned_in"),
    "text by half": (each(BurnedInAnnotation="MAYBE"), "burned_in"),
    "neither original nor derived": (each(ImageType=["MIXED", "PRIMARY", "OTHER"]), "burned_in"),
    "no type": (without("ImageType"), "burned_in"),
    "screenshot": (each(SOPClassUID=SecondaryCaptureImageStorage), "not_mr"),
    "report": (as_report, "not_an_image"),
    "mosaic without its header": (each(ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]), "mosaic"),
    "colour": (each(PhotometricInterpretation="RGB", SamplesPerPixel=3), "unsupported_photometric"),
    "enhanced colour": (each(SOPClassUID=EnhancedMRColorImageStorage, SamplesPerPixel=3), "unsupported_photometric"),
    "palette": (each(PhotometricInterpretation="PALETTE COLOR"), "unsupported_photometric"),
    "more pixels than are read": (each(Rows=60000, Columns=60000), "too_large"),
    "no position": (without("ImagePositionPatient"), "no_geometry"),
    "no orientation": (without("ImageOrientationPatient"), "no_geometry"),
    "no pixel spacing": (without("PixelSpacing"), "no_geometry"),
    "position beyond any scanner": (at(4, ImagePositionPatient=[0, 0, 1e300]), "no_geometry"),
    "huge pixels": (each(PixelSpacing=[1e200, 1e200]), "no_geometry"),
    "huge cosines": (each(ImageOrientationPatient=[1e200, 0, 0, 0, 1e200, 0]), "no_geometry"),
    "values beyond float32": (each(RescaleSlope=1e300, RescaleIntercept=0), "unreadable_pixels"),
    "values that are none": (each(RescaleSlope=1e300, RescaleIntercept=-1e300), "unreadable_pixels"),
    "zero pixel spacing": (each(PixelSpacing=[0, 0]), "no_geometry"),
    "five direction cosines": (each(ImageOrientationPatient=[1, 0, 0, 0, 1]), "no_geometry"),
    "oblique angle": (each(ImageOrientationPatient=[1, 0, 0, 0.5, 0.8, 0]), "no_geometry"),
    "classic with frames": (each(NumberOfFrames=4), "no_geometry"),
    "two frames of reference": (at(4, FrameOfReferenceUID="1.2.3"), "mixed_frame_of_reference"),
    "two sizes": (at(4, Rows=16, Columns=80), "mixed_size"),
    "two pixel spacings": (at(4, PixelSpacing=[0.9, 0.9]), "mixed_size"),
    "two orientations": (planes("AXIAL", "OBLIQUE"), "mixed_orientation"),
    "two planes at right angles": (planes("AXIAL", "CORONAL"), "mixed_orientation"),
    "two scans under one number": (add("second"), "multi_volume"),
    "two slices at one place": (copy_first, "duplicate_slice"),
    "one slice": (drop(*range(1, 10)), "too_few_slices"),
    "gantry tilt": (lean, "not_stacked"),
    "a slice aside": (move(4, (3, 0, 0)), "not_stacked"),
    "one missing": (drop(4), "missing_slice"),
    "several missing": (drop(3, 4, 7), "missing_slice"),
    "two stacks that overlap": (move(4, (0, 0, 1.5)), "overlapping_slices"),
    "uneven": (move(4, (0, 0, 0.6)), "uneven_spacing"),
    "phase": (each(ImageType=["ORIGINAL", "PRIMARY", "P", "ND"]), "not_magnitude"),
    "real part": (each(ComplexImageComponent="REAL"), "not_magnitude"),
    "truncated pixels": (cut_pixels, "unreadable_pixels"),
    "no bits": (each(BitsStored=0), "unreadable_pixels"),
    "more bits than there are": (each(HighBit=40), "unreadable_pixels"),
    "negative bits": (each(HighBit=3), "unreadable_pixels"),
    "no pixels": (without("PixelData"), "unreadable_pixels"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_refused_by_its_reason(builder, read, tmp_path, name):
    fault, reason = FAULTS[name]
    series = builder.classic()
    fault(series, builder)
    scans, rejections = read(builder.save(series, tmp_path))
    assert scans == []
    assert rejections == [Rejection(series[0].SeriesInstanceUID, reason)]


TOLERATED = {
    "first slice missing": drop(0),
    "spacing jitter": move(4, (0, 0, 0.05)),
    "sideways jitter": move(4, (0.1, 0.1, 0)),
    "rounded cosines": each(ImageOrientationPatient=[0.57, 0.822, 0, 0, 0, -1]),
    "orientation jitter": at(4, ImageOrientationPatient=[1, 0.0004, 0, 0, 1, 0]),
    "no frame of reference": without("FrameOfReferenceUID"),
    "no modality": without("Modality"),
    "no instance number": without("InstanceNumber"),
}


@pytest.mark.parametrize("name", TOLERATED)
def test_small_deviation_is_tolerated(builder, read, tmp_path, name):
    orientation = (0.57, 0.822, 0, 0, 0, -1) if name == "rounded cosines" else builder.AXIAL
    series = builder.classic(orientation=orientation)
    TOLERATED[name](series, builder)
    scans, rejections = read(builder.save(series, tmp_path))
    assert rejections == []
    assert len(scans) == 1


def test_volume_larger_than_is_read(builder, read, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.dicom.geometry.MAX_VOLUME_VOXELS", 10 * builder.ROWS * builder.COLUMNS)
    builder.save(builder.classic("right", slices=10), tmp_path)
    builder.save(builder.classic("large", slices=11), tmp_path)
    [scan], [rejection] = read(tmp_path)
    assert (scan.series_uid, rejection.reason) == (builder.uid("right", "series"), "too_large")


def test_contrast_and_slices_that_were_not_asked_for(builder, read, tmp_path):
    builder.save(builder.classic("t1", contrast="T1"), tmp_path)
    builder.save(builder.classic("short", slices=7), tmp_path)
    builder.save(builder.classic("right", slices=8), tmp_path)
    scans, rejections = read(tmp_path, Selection(contrasts=["FLAIR", "T2"], min_slices=8))
    assert [scan.series_uid for scan in scans] == [builder.uid("right", "series")]
    assert {(r.source, r.reason) for r in rejections} == {
        (builder.uid("t1", "series"), "contrast_not_selected"),
        (builder.uid("short", "series"), "too_few_slices"),
    }


def test_refused_series_does_not_touch_its_neighbours(builder, read, tmp_path):
    broken = builder.classic("broken")
    drop(4)(broken, builder)
    builder.save([*broken, *builder.classic("good")], tmp_path)
    [scan], [rejection] = read(tmp_path)
    assert (scan.series_uid, rejection.reason) == (builder.uid("good", "series"), "missing_slice")


def test_an_unknown_reason_cannot_be_given():
    with pytest.raises(ValueError, match="unknown reason 'because'"):
        Rejection("x", "because")


def test_every_reason_has_a_message_and_a_test():
    tested = {reason for _, reason in FAULTS.values()}
    elsewhere = {"not_dicom", "unreadable_file", "contrast_not_selected", "repeated_volume", "unreadable_archive"}
    elsewhere |= {
        "media_directory",
        "plane_not_selected",
        "acquisition_type_not_selected",
        "not_best_of_study",
        "withdrawn",
    }
    assert tested | elsewhere == set(REASONS)
    assert all(len(message) > 15 for message in REASONS.values())
