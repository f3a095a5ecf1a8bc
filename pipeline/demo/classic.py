"""Classic MR: a file for each slice (MR Image Storage, PS3.3, A.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage

from pipeline.demo import modules
from pipeline.demo.simulate import Images


def classic(series: modules.Series, images: Images, slices: Sequence[int], first: int = 1) -> Iterator[Dataset]:
    """The slices named, in that order; InstanceNumber counts from `first` in it, whatever their position."""
    for instance, index in enumerate(slices, start=first):
        ds = modules.dataset(series, MRImageStorage, instance)
        _acquisition(ds, series, images)
        step, row, column = modules.spacing(images.grid.affine_lps)
        ds.PixelSpacing = [row, column]
        ds.SliceThickness, ds.SpacingBetweenSlices = round(0.85 * step, 3), step
        ds.ImageOrientationPatient = modules.orientation(images.grid.affine_lps)
        ds.ImagePositionPatient = modules.position(images.grid.affine_lps, index)
        modules.pixels(ds, images.stored[index])
        yield ds


def _acquisition(ds: Dataset, series: modules.Series, images: Images) -> None:
    """MR Image module (C.8.3.1)."""
    scanner, sequence = series.patient.scanner, images.sequence
    inverted = sequence.inversion_time_ms is not None
    ds.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    ds.ScanningSequence = ["SE", "IR"] if inverted else "SE"
    ds.SequenceVariant = "SK" if sequence.echo_train_length > 1 else "NONE"
    ds.ScanOptions, ds.MRAcquisitionType = "", "2D"
    ds.RepetitionTime, ds.EchoTime = sequence.repetition_time_ms, sequence.echo_time_ms
    ds.EchoTrainLength = sequence.echo_train_length
    if inverted:
        ds.InversionTime = sequence.inversion_time_ms
    ds.MagneticFieldStrength = scanner.field_strength_t
    ds.FlipAngle, ds.NumberOfAverages = 90, 1
    ds.AcquisitionDate, ds.AcquisitionTime, ds.AcquisitionNumber = modules.DATE, modules.TIME, 1
    if scanner.rescale_slope != 1:
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, scanner.rescale_slope, "normalized"
