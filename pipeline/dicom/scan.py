"""A series in memory, and reading its pixels."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import dcmread

from pipeline.dicom import geometry, mosaic, pixels, plain_pixels, source
from pipeline.dicom.admission import Plan
from pipeline.dicom.frames import Frame, is_original
from pipeline.dicom.header import Instance
from pipeline.dicom.reasons import Rejection
from pipeline.dicom.values import UNREADABLE
from pipeline.imaging.volume import Volume

#: Differences of the affine below this, in mm, are rounding of another export, and no other scan.
AFFINE_STEP_MM = 1e-4

#: Relative differences of Philips's scale below this are rounding.
SCALE_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Described:
    """What is known of one volume of a series, wherever its voxels are.

    Attributes:
        patient_id, study_uid, series_uid: as in the files; for memory only, and not in the `repr`.
        slice_keys: SOPInstanceUID and FrameNumber (from 1; None in classic files; of a mosaic the tile) of each slice.
        manufacturer: a name of `vendor.vendor`.
        contrast: T1, T2, PD, FLAIR, or `?`.
        sex: PatientSex, M, F or O; empty where unknown.
        age_years: whole years, at most 90; None where unknown.
        volume_number: its place among the volumes of the series, from 1; None where the series holds one.
        files: of which it was made, each once; none where one also holds frames that are not ORIGINAL: these may show
            text, and a file is passed on whole or not at all.
    """

    patient_id: str = field(repr=False)
    study_uid: str = field(repr=False)
    series_uid: str = field(repr=False)
    slice_keys: list[tuple[str, int | None]] = field(repr=False)
    manufacturer: str
    field_strength_t: float | None
    contrast: str
    sex: str = field(repr=False)
    age_years: int | None = field(repr=False)
    volume_number: int | None = None
    files: tuple[Path, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Scan(Described):
    """A volume in memory: `volume`, voxels float32 (D, H, W), slices in the order of their place along the normal."""

    volume: Volume = field(repr=False)

    @property
    def source_sha256(self) -> str:
        """See `image_sha256`: worked out when it is asked for, as it takes longer than reading the pixels."""
        return image_sha256(self.volume)


def read_scan(plan: Plan) -> Scan | Rejection:
    """Read the pixels of a planned series; files one at a time."""
    volume = read_volume(plan)
    if isinstance(volume, Rejection):
        return volume
    return Scan(volume, **described(plan))


def described(plan: Plan) -> dict[str, Any]:
    """The fields of `Described` that headers alone tell."""
    first = plan.instances[0]
    return {
        "patient_id": first.patient_id,
        "study_uid": first.study_uid,
        "series_uid": first.series_uid,
        "slice_keys": [(plan.instances[place].sop_uid, frame.number) for place, frame in plan.slices],
        "manufacturer": first.manufacturer,
        "field_strength_t": first.field_strength_t,
        "contrast": plan.contrast,
        "sex": first.sex,
        "age_years": first.age_years,
        "files": _files(plan),
        "volume_number": plan.volume_number,
    }


def read_volume(plan: Plan) -> Volume | Rejection:
    """The voxels of a planned series and where they stand."""
    series = plan.instances[0].series_uid
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the parser's warnings quote values, which may identify the patient
        try:
            voxels = _read_voxels(plan)
        except UNREADABLE:
            return Rejection(series, "unreadable_pixels")
        except MemoryError:
            return Rejection(series, "too_large")
    return Volume(voxels, geometry.affine_lps([frame for _, frame in plan.slices]))


def _files(plan: Plan) -> tuple[Path, ...]:
    used = [plan.instances[file] for file in dict.fromkeys(file for file, _ in plan.slices)]
    original = all(is_original(frame.types) for instance in used for frame in instance.frames)
    return tuple(instance.path for instance in used) if original else ()


def image_sha256(volume: Volume) -> str:
    """SHA-256, in hex, of what the scanner saw: shape, affine to `AFFINE_STEP_MM`, and voxels.

    Nothing that names a patient, study or file enters, nor how the file was encoded. So one scan that was exported
    twice, under two patients, is found by it. Shape and affine enter as int64, voxels as float32 in C order, all little
    endian.
    """
    digest = hashlib.sha256(np.array(volume.voxels.shape, "<i8").tobytes())
    digest.update(np.rint(volume.affine_lps / AFFINE_STEP_MM).astype("<i8").tobytes())
    digest.update(np.ascontiguousarray(volume.voxels, "<f4").data)
    return digest.hexdigest()


def _read_voxels(plan: Plan) -> npt.NDArray[np.float32]:
    """Voxels float32 (D, H, W); each file is read once.

    Raises:
        ValueError: a value is beyond float32, or not what the header was planned with.
    """
    voxels = np.empty((len(plan.slices), *plan.instances[plan.slices[0][0]].shape), np.float32)
    factors = _evening([frame for _, frame in plan.slices])
    finite = True
    reader = plain_pixels.Reader()
    for file in dict.fromkeys(file for file, _ in plan.slices):
        instance = plan.instances[file]
        dataset, decoded = _decode(instance, reader)
        for index, (owner, frame) in enumerate(plan.slices):
            if owner == file:
                stored = pixels.stored_values(decoded[(frame.number or 1) - 1], dataset)
                stored = pixels.inverted(stored, dataset) if instance.inverted else stored
                slope, intercept = frame.slope * factors[index], frame.intercept * factors[index]
                pixels.rescale(stored, slope, intercept, voxels[index])
                finite = finite and pixels.certainly_finite(slope, intercept)
    if not finite and not np.isfinite([voxels.min(), voxels.max()]).all():
        raise ValueError("values beyond float32")
    return voxels


def _evening(frames: Sequence[Frame]) -> list[float]:
    """Factors that make displayed values comparable between the slices of a volume; 1 where they are.

    Values are those of the Modality LUT, as displayed. Philips can scale each slice by itself so that these leap from
    slice to slice; then all are brought to the scale of the first by RescaleSlope × ScaleSlope.
    """
    scales = [frame.precise_scale for frame in frames]
    known = [scale for scale in scales if scale is not None]
    if len(known) < len(scales) or max(known) - min(known) <= SCALE_TOLERANCE * max(known):
        return [1.0] * len(scales)
    return [known[0] / scale for scale in known]


def _decode(instance: Instance, reader: plain_pixels.Reader) -> tuple[Any, npt.NDArray[Any]]:
    """Data set and pixels (N, rows, columns) of a file that still is the one whose header was planned with.

    Raises:
        ValueError: it is another one now, or its planes do not have the size that its header said.
    """
    dataset: Any
    plain = instance.pixels and reader.read(instance.path, instance.pixels)
    if plain:
        dataset, decoded = plain
    else:
        with source.opened(instance.path) as handle:
            dataset = dcmread(handle, force=True, specific_tags=pixels.TAGS)
        decoded = pixels.decoded(dataset)
    if instance.tiled:
        decoded = mosaic.untiled(decoded, len(instance.frames), instance.shape)
    same = plain or dataset.SOPInstanceUID == instance.sop_uid
    if not same or decoded.shape != (len(instance.frames), *instance.shape):
        raise ValueError("the file changed while the folder was read")
    return dataset, decoded
