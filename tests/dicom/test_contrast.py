from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from pipeline.dicom import contrast


def infer(timing):
    return contrast.infer(timing).contrast


def classic(sequence, tr, te, ti=None, flip=None, **more):
    ds = Dataset()
    ds.ScanningSequence, ds.RepetitionTime, ds.EchoTime = sequence, tr, te
    ds.InversionTime, ds.FlipAngle = ti, flip
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    return contrast.classic(ds)


# Protocols as scanners write them.
PROTOCOLS = [
    ("FLAIR", classic(["SE", "IR"], 9000, 120, 2250, 150)),  # turbo spin echo at 1.5 T
    ("FLAIR", classic(["SE", "IR"], 5000, 390, 1800, 120)),  # three-dimensional, variable flip angle, 3 T
    ("FLAIR", classic("IR", 11000, 140, 2600)),
    ("T1", classic("SE", 500, 14, flip=90)),
    ("T1", classic("SE", 700, 9, flip=150)),
    ("T1", classic(["SE", "IR"], 2500, 12, 900)),  # T1-FLAIR
    ("T1", classic(["GR", "IR"], 2300, 2.98, 900, 9)),  # MPRAGE
    ("T1", classic("GR", 6.5, 2.93, flip=9, SequenceVariant="MP")),  # MPRAGE where TR is the echo spacing
    ("T1", classic("GR", 250, 2.5, flip=70, SequenceVariant="SP")),  # spoiled gradient echo, two-dimensional
    ("T2", classic("SE", 4500, 100, flip=150)),
    ("T2", classic("SE", 3200, 410, flip=120)),  # three-dimensional, variable flip angle
    ("PD", classic("SE", 3000, 15, flip=90)),
    ("?", classic(["SE", "IR"], 5000, 60, 160)),  # STIR
    ("?", classic("GR", 700, 25, flip=20)),  # T2*
    ("?", classic(["EP", "SE"], 6000, 90)),  # diffusion, or functional
    ("?", classic("GR", 5, 2, flip=45, SequenceVariant="SS")),  # balanced steady state
    ("?", classic("GR", 20, 2.3, flip=10, SequenceVariant="SP")),  # field map: neither T1 nor PD
    ("?", classic("GR", 22, 5, flip=25, AngioFlag="Y")),  # time of flight
    ("?", classic("", None, None)),
]


@pytest.mark.parametrize(("expected", "timing"), PROTOCOLS)
def test_contrast_from_timing(expected, timing):
    assert infer(timing) == expected


def test_description_breaks_a_tie():
    assert infer(classic("SE", 3000, 55)) == "?"
    assert infer(classic("SE", 3000, 55, SeriesDescription="AX T2 TSE")) == "T2"
    assert infer(classic("SE", 3000, 55, ProtocolName="pd_tse_sag")) == "PD"
    assert infer(classic("SE", 3000, 55, SeriesDescription="DOUBLE ECHO PD T2")) == "?"
    assert infer(classic(["SE", "IR"], 9000, 120, SeriesDescription="t2_flair_tra")) == "FLAIR"
    assert infer(classic("", None, None, SeriesDescription="t2 dark-fluid")) == "FLAIR"
    assert infer(classic("", None, None, SeriesDescription="T1 FLAIR sag")) == "T1"
    assert infer(classic("", None, None, SeriesDescription="T2* GRE")) == "?"


def test_description_never_overrules_the_timing():
    assert infer(classic("SE", 500, 14, SeriesDescription="AX FLAIR")) == "T1"
    assert infer(classic(["EP", "SE"], 6000, 90, SeriesDescription="AX T2")) == "?"


def test_acquisition_contrast_stands_between_timing_and_description():
    assert infer(classic("SE", 3000, 55, AcquisitionContrast="PROTON_DENSITY", SeriesDescription="T2")) == "PD"
    assert infer(classic("SE", 500, 14, AcquisitionContrast="T2")) == "T1"
    assert infer(classic("SE", 500, 14, AcquisitionContrast="DIFFUSION")) == "?"
    assert infer(classic("SE", 500, 14, AcquisitionContrast="UNKNOWN")) == "T1"


def typed(*words):
    return ["ORIGINAL", "PRIMARY", *words]


def test_image_type_stands_between_acquisition_contrast_and_description():
    both = {"ImageType": typed("PROTON_DENSITY", "NONE"), "SeriesDescription": "T2"}
    assert infer(classic("SE", 3000, 55, **both)) == "PD"
    assert infer(classic("SE", 3000, 55, AcquisitionContrast="T2", **both)) == "T2"
    assert infer(classic("SE", 500, 14, ImageType=typed("T2", "NONE"))) == "T1"
    assert infer(classic("SE", 4500, 100, ImageType=typed("DIFFUSION", "NONE"))) == "?"
    assert infer(classic("SE", 4500, 100, ImageType=typed("M", "ND", "NORM"))) == "T2"


def test_image_type_of_philips_tells_the_sequence_where_the_header_says_research_mode():
    assert infer(classic("RM", 250, 2.5, flip=70, ImageType=typed("M_FFE", "M", "FFE"))) == "T1"
    assert infer(classic("RM", 700, 25, flip=20, ImageType=typed("M_FFE", "M", "FFE"))) == "?"
    assert infer(classic("RM", 9000, 120, 2400, ImageType=typed("M_IR", "M", "IR"))) == "FLAIR"
    assert infer(classic("SE", 4500, 100, ImageType=typed("M_FFE", "M", "FFE"))) == "T2"


@pytest.mark.parametrize(
    ("timing", "by", "likely"),
    [
        (classic("SE", 500, 14), "timing", {"T1"}),
        (classic("SE", 3000, 55, SeriesDescription="T2"), "description", {"PD", "T2"}),
        (classic("SE", 3000, 55, AcquisitionContrast="T2"), "AcquisitionContrast", {"PD", "T2"}),
        (classic("SE", 3000, 55, ImageType=typed("T2")), "ImageType", {"PD", "T2"}),
        (classic("SE", 3000, 55, SeriesDescription="PD T2"), "tie", {"PD", "T2"}),
        (classic("GR", 700, 25), "timing", set()),
        (classic("GR", 22, 5, AngioFlag="Y"), "special", set()),
    ],
)
def test_an_inference_says_what_it_rests_on(timing, by, likely):
    inference = contrast.infer(timing)
    assert (inference.by, inference.likely) == (by, likely)


@pytest.mark.parametrize(("words", "expected"), [(("T2", "NONE"), "T2"), (("DIFFUSION", "NONE"), "?")])
def test_frame_type_counts_as_image_type_does(builder, read, tmp_path, words, expected):
    ds = builder.enhanced(contrast="T2")
    shared = ds.SharedFunctionalGroupsSequence[0]
    shared.MREchoSequence[0].EffectiveEchoTime = 55
    shared.MRImageFrameTypeSequence[0].FrameType = typed(*words)
    assert read(builder.save([ds], tmp_path))[0][0].contrast == expected


@pytest.mark.parametrize("name", ["FLAIR", "T1", "T2"])
def test_enhanced_functional_groups_tell_the_same(builder, read, tmp_path, name):
    [scan], _ = read(builder.save([builder.enhanced(contrast=name)], tmp_path))
    assert scan.contrast == name


def test_enhanced_echo_planar_is_none_of_them(builder, read, tmp_path):
    ds = builder.enhanced(contrast="T2")
    ds.EchoPlanarPulseSequence = "YES"
    assert read(builder.save([ds], tmp_path))[0][0].contrast == "?"


def test_legacy_converted_attributes_are_found(builder, read, tmp_path):
    ds = builder.enhanced()
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.4"
    shared = ds.SharedFunctionalGroupsSequence[0]
    for keyword in ("MRTimingAndRelatedParametersSequence", "MREchoSequence", "MRModifierSequence"):
        delattr(shared, keyword)
    converted = builder.item(ScanningSequence="SE", RepetitionTime=4500, EchoTime=100)
    shared.UnassignedSharedConvertedAttributesSequence = [converted]
    assert read(builder.save([ds], tmp_path))[0][0].contrast == "T2"


def test_series_of_several_contrasts_is_none_of_them(builder, read, tmp_path):
    series = builder.classic()
    series[3].RepetitionTime, series[3].EchoTime, series[3].InversionTime = 500, 12, None
    series[3].ScanningSequence = "SE"
    assert read(builder.save(series, tmp_path))[0][0].contrast == "?"
