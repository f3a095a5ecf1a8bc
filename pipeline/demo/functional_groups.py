"""Functional groups of enhanced MR images (PS3.3, C.7.6.16.2 and C.8.13.5)."""

from __future__ import annotations

from pydicom.dataset import Dataset

from pipeline.demo import modules
from pipeline.demo.simulate import Images

#: Resonance frequency of hydrogen, in MHz per tesla.
MHZ_PER_TESLA = 42.577


def per_frame(images: Images, index: int, rank: int, frame: int) -> Dataset:
    """Frame content and plane position of slice `index`; `rank` is its place in the stack."""
    content = Dataset()
    content.FrameAcquisitionNumber = frame
    content.FrameReferenceDateTime = content.FrameAcquisitionDateTime = modules.DATE + modules.TIME
    content.FrameAcquisitionDuration = 240000.0
    content.StackID, content.InStackPositionNumber = "1", rank
    content.DimensionIndexValues = [1, rank]
    plane = Dataset()
    plane.ImagePositionPatient = modules.position(images.grid.affine_lps, index)
    item = Dataset()
    item.FrameContentSequence, item.PlanePositionSequence = [content], [plane]
    return item


def shared(series: modules.Series, images: Images, kind: Dataset) -> Dataset:
    """What all frames have in common; `kind` is the frame type without its ImageType."""
    frame_type = Dataset()
    frame_type.update(kind)
    frame_type.FrameType = ["ORIGINAL", "PRIMARY", kind.AcquisitionContrast, "NONE"]
    item = Dataset()
    item.MRImageFrameTypeSequence = [frame_type]
    _geometry(item, images)
    _values(item, series)
    _timing(item, images)
    _preparation(item, series, images)
    _coils(item)
    return item


def _geometry(item: Dataset, images: Images) -> None:
    step, row, column = modules.spacing(images.grid.affine_lps)
    measures, plane, anatomy, encoding = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [row, column]
    measures.SliceThickness, measures.SpacingBetweenSlices = round(0.85 * step, 3), step
    plane.ImageOrientationPatient = modules.orientation(images.grid.affine_lps)
    anatomy.FrameLaterality = "U"
    anatomy.AnatomicRegionSequence = [modules.code("12738006", "SCT", "Brain")]
    encoding.InPlanePhaseEncodingDirection = "ROW"
    encoding.MRAcquisitionFrequencyEncodingSteps = images.grid.shape[1]
    encoding.MRAcquisitionPhaseEncodingStepsInPlane = images.grid.shape[2]
    encoding.PercentSampling = encoding.PercentPhaseFieldOfView = 100.0
    item.PixelMeasuresSequence, item.PlaneOrientationSequence = [measures], [plane]
    item.FrameAnatomySequence, item.MRFOVGeometrySequence = [anatomy], [encoding]


def _values(item: Dataset, series: modules.Series) -> None:
    rescale = Dataset()
    rescale.RescaleIntercept, rescale.RescaleSlope = 0, series.patient.scanner.rescale_slope
    rescale.RescaleType = "US"
    item.PixelValueTransformationSequence = [rescale]


def _timing(item: Dataset, images: Images) -> None:
    sequence = images.sequence
    absorption, mode, timing, echo, averages = Dataset(), Dataset(), Dataset(), Dataset(), Dataset()
    absorption.SpecificAbsorptionRateDefinition, absorption.SpecificAbsorptionRateValue = "IEC_HEAD", 1.0
    mode.OperatingModeType, mode.OperatingMode = "GRADIENT", "IEC_NORMAL"
    timing.RepetitionTime, timing.FlipAngle = sequence.repetition_time_ms, 90.0
    timing.EchoTrainLength = timing.RFEchoTrainLength = sequence.echo_train_length
    timing.GradientEchoTrainLength = 0
    timing.SpecificAbsorptionRateSequence, timing.OperatingModeSequence = [absorption], [mode]
    timing.GradientOutputType, timing.GradientOutput = "DB_DT", 10.0
    echo.EffectiveEchoTime = sequence.echo_time_ms
    averages.NumberOfAverages = 1.0
    item.MRTimingAndRelatedParametersSequence, item.MREchoSequence = [timing], [echo]
    item.MRAveragesSequence = [averages]


def _preparation(item: Dataset, series: modules.Series, images: Images) -> None:
    inversion = images.sequence.inversion_time_ms
    modifier, imaging = Dataset(), Dataset()
    modifier.InversionRecovery = "NO" if inversion is None else "YES"
    if inversion is not None:
        modifier.InversionTimes = inversion
    modifier.FlowCompensation, modifier.Spoiling, modifier.T2Preparation = "NONE", "NONE", "NO"
    modifier.SpectrallySelectedExcitation, modifier.SpatialPresaturation = "NONE", "NONE"
    modifier.PartialFourier, modifier.ParallelAcquisition = "NO", "NO"
    imaging.MagnetizationTransfer, imaging.BloodSignalNulling, imaging.Tagging = "NONE", "NO", "NONE"
    imaging.TransmitterFrequency = round(MHZ_PER_TESLA * series.patient.scanner.field_strength_t, 3)
    imaging.PixelBandwidth = 200.0
    item.MRModifierSequence, item.MRImagingModifierSequence = [modifier], [imaging]


def _coils(item: Dataset) -> None:
    receive, transmit = Dataset(), Dataset()
    receive.ReceiveCoilName, receive.ReceiveCoilManufacturerName = "HEAD", ""
    receive.ReceiveCoilType, receive.QuadratureReceiveCoil = "VOLUME", "YES"
    transmit.TransmitCoilName, transmit.TransmitCoilManufacturerName = "BODY", ""
    transmit.TransmitCoilType = "BODY"
    item.MRReceiveCoilSequence, item.MRTransmitCoilSequence = [receive], [transmit]
