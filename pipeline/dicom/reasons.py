"""Why a file or series is refused: stable codes, each with the sentence that a person reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

#: Code -> message, in the order in which a series is asked. Codes are stable: programs and `rejected.csv` rely on them.
REASONS = MappingProxyType(
    {
        "unreadable_file": "the file cannot be opened or read",
        "unreadable_archive": "a zip or gzip that is damaged, locked, beyond the bounds, or within another archive",
        "not_dicom": "the file is no DICOM, or is damaged before its image description ends",
        "media_directory": "a DICOMDIR: the list of a medium's files, which are read themselves",
        "withdrawn": "the patient was withdrawn (data/withdrawn.csv)",
        "not_mr": "the series is another modality or a secondary capture, not (Enhanced) MR Image Storage",
        "not_an_image": "the object holds no image (a plan, report, raw data or the like)",
        "no_identity": "PatientID or the Study, Series or SOP Instance UID is missing: a leak could not be ruled out",
        "mixed_patient": "one SeriesInstanceUID stands under several patients or studies",
        "duplicate_instance": "the same SOPInstanceUID stands in several files",
        "localizer": "a localizer: ImageType says so, or its planes stand on each other at right angles",
        "derived": "ImageType says DERIVED: reformatted, projected or computed, not as acquired",
        "burned_in": "text may be burned into the pixels: not an ORIGINAL image, or BurnedInAnnotation says so",
        "mosaic": "slices tiled into one picture (a mosaic), and the header does not tell where each stands",
        "unsupported_photometric": "the pixels are not grey values of one sample (MONOCHROME1 or MONOCHROME2)",
        "no_geometry": "position, orientation or pixel spacing of a slice is missing or impossible",
        "too_large": "more pixels in a file, or voxels in a volume, than are read, or than there is memory for",
        "mixed_frame_of_reference": "the slices belong to several frames of reference",
        "mixed_size": "the slices differ in rows, columns or pixel spacing",
        "mixed_orientation": "the slices differ in orientation",
        "multi_volume": "several volumes at the same positions, and nothing tells which slices belong together",
        "duplicate_slice": "several slices at the same position",
        "too_few_slices": "fewer slices than asked for",
        "not_stacked": "the slices do not stand over one another along their normal",
        "overlapping_slices": "some slices are much nearer to each other than the rest, as where two stacks overlap",
        "missing_slice": "a slice is missing: a gap in the positions along the normal",
        "uneven_spacing": "the distance between slices is not even",
        "not_magnitude": "phase, real, imaginary or field-map values, not magnitude",
        "repeated_volume": "a further time point, direction or average: the first of the series' volumes was taken",
        "contrast_not_selected": "another contrast than asked for, or one that its timing does not tell",
        "plane_not_selected": "another plane (axial, coronal, sagittal, oblique) than asked for",
        "acquisition_type_not_selected": "2D or 3D, whichever was not asked for, or the header does not say which",
        "not_best_of_study": "a better volume of the same contrast was taken of the study",
        "unreadable_pixels": "the pixels are truncated or cannot be decoded",
    }
)

#: Refusals of a file, not a series: their source is a path, which may look like a UID and may name a patient.
OF_FILES = frozenset({"unreadable_file", "unreadable_archive", "not_dicom", "media_directory"})


@dataclass(frozen=True)
class Rejection:
    """A file or series that was refused.

    Attributes:
        source: path relative to the folder that was read, or SeriesInstanceUID; identifying, for memory only.
        reason: a key of `REASONS`.
        part: whether other volumes of the series were taken.
    """

    source: str = field(repr=False)
    reason: str
    part: bool = False

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            raise ValueError(f"unknown reason {self.reason!r}")

    @property
    def message(self) -> str:
        """What the reason means, for a person."""
        return REASONS[self.reason]
