"""Enhanced MR: a whole series in one file (Enhanced MR Image Storage, PS3.3, A.36.2)."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage

from pipeline.demo import modules
from pipeline.demo.functional_groups import per_frame, shared
from pipeline.demo.simulate import Images

#: AcquisitionContrast (C.8.13.3.3) by the sequence's contrast.
ACQUISITION_CONTRAST = {"FLAIR": "FLUID_ATTENUATED", "T1": "T1", "T2": "T2"}


def enhanced(series: modules.Series, images: Images, slices: Sequence[int]) -> Dataset:
    """The slices named, in that order, as the frames of one file."""
    ds = modules.dataset(series, EnhancedMRImageStorage, 1)
    _image(ds, series, images)
    _pulse_sequence(ds, images)
    _dimensions(ds, series)
    ds.AcquisitionContextSequence = []
    ds.NumberOfFrames = len(slices)
    ds.SharedFunctionalGroupsSequence = [shared(series, images, kind(images))]
    ds.PerFrameFunctionalGroupsSequence = [
        per_frame(images, index, rank, place)
        for place, (index, rank) in enumerate(zip(slices, _ranks(slices), strict=True), start=1)
    ]
    modules.pixels(ds, images.stored[list(slices)])
    return ds


def kind(images: Images) -> Dataset:
    """What sort of picture it is; stands in the file and, as frame type, in the functional groups (C.8.13.3.1)."""
    ds = Dataset()
    ds.PixelPresentation, ds.VolumetricProperties = "MONOCHROME", "VOLUME"
    ds.VolumeBasedCalculationTechnique, ds.ComplexImageComponent = "NONE", "MAGNITUDE"
    ds.AcquisitionContrast = ACQUISITION_CONTRAST[images.sequence.contrast]
    return ds


def _ranks(slices: Sequence[int]) -> list[int]:
    """In-stack positions, from 1."""
    rank = {index: place for place, index in enumerate(sorted(slices), start=1)}
    return [rank[index] for index in slices]


def _image(ds: Dataset, series: modules.Series, images: Images) -> None:
    """Enhanced MR Image (C.8.13.1) with the attributes that it demands of original images."""
    ds.update(kind(images))
    ds.ImageType = ["ORIGINAL", "PRIMARY", ds.AcquisitionContrast, "NONE"]
    ds.AcquisitionDateTime, ds.AcquisitionNumber = modules.DATE + modules.TIME, 1
    ds.AcquisitionDuration = 240.0
    ds.ContentQualification, ds.ResonantNucleus, ds.KSpaceFiltering = "RESEARCH", "1H", "NONE"
    ds.MagneticFieldStrength = series.patient.scanner.field_strength_t
    ds.ApplicableSafetyStandardAgency = "IEC"
    ds.BurnedInAnnotation, ds.LossyImageCompression, ds.PresentationLUTShape = "NO", "00", "IDENTITY"


def _pulse_sequence(ds: Dataset, images: Images) -> None:
    """MR Pulse Sequence (C.8.13.4)."""
    train = images.sequence.echo_train_length > 1
    ds.PulseSequenceName = "tse2d" if train else "se2d"
    ds.MRAcquisitionType = "2D"
    ds.EchoPulseSequence = "SPIN"
    ds.MultipleSpinEcho = "YES" if train else "NO"
    ds.MultiPlanarExcitation, ds.PhaseContrast, ds.TimeOfFlightContrast = "NO", "NO", "NO"
    ds.SteadyStatePulseSequence, ds.EchoPlanarPulseSequence = "NONE", "NO"
    ds.SaturationRecovery, ds.SpectrallySelectedSuppression = "NO", "NONE"
    ds.OversamplingPhase, ds.GeometryOfKSpaceTraversal = "NONE", "RECTILINEAR"
    ds.SegmentedKSpaceTraversal = "PARTIAL" if train else "SINGLE"
    ds.RectilinearPhaseEncodeReordering, ds.NumberOfKSpaceTrajectories = "LINEAR", 1


def _dimensions(ds: Dataset, series: modules.Series) -> None:
    """Multi-frame Dimension (C.7.6.17): the stack, then the position in it."""
    organization = Dataset()
    organization.DimensionOrganizationUID = series.other_uid(f"dimensions of {series.name}")
    ds.DimensionOrganizationSequence = [organization]
    ds.DimensionIndexSequence = []
    for pointer in ("StackID", "InStackPositionNumber"):
        item = Dataset()
        item.DimensionOrganizationUID = organization.DimensionOrganizationUID
        item.DimensionIndexPointer, item.FunctionalGroupPointer = pointer, "FrameContentSequence"
        item.DimensionDescriptionLabel = pointer
        ds.DimensionIndexSequence.append(item)
