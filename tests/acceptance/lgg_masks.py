"""Masks of LGG tumours for `validate.masks`: `python -m tests.acceptance.lgg_masks SRC LABELS PROJECT`.

SRC holds the published PNG slices with their masks (labels.csv: `patient, slice, mask`), LABELS is the labels file of
the same slices as DICOM (`PatientID, SeriesInstanceUID`; slice n stands at -60 + 5 n mm), and PROJECT a checkout that
has ingested them with this user's pseudonym key. Writes PROJECT/data/masks/<series>.nii.gz, placed as the volumes are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.dicom.pseudonym import Pseudonyms, default_key_file, existing_key
from pipeline.files import read_csv, write_atomic
from pipeline.imaging import nifti
from pipeline.imaging.volume import Volume

FIRST_MM, STEP_MM = -60.0, 5.0


def drawn(volume: Volume, pictures: dict[int, Path]) -> Volume:
    """The mask of one volume; its rows and columns are those of the pictures."""
    if not (np.sign(volume.affine_lps[[0, 1], [0, 1]]) == 1).all():
        raise SystemExit("expected columns to the left and rows to the back; found another orientation")
    masks = np.zeros_like(volume.voxels)
    for place in range(len(masks)):
        height = volume.affine_lps[2] @ (0, 0, place, 1)
        path = pictures[round((height - FIRST_MM) / STEP_MM)]
        masks[place] = np.asarray(Image.open(path).convert("L")) > 0
    return Volume(masks, volume.affine_lps)


def save(mask: Volume, path: Path) -> None:
    """As a NIfTI file."""
    content = nifti.packed(mask)
    write_atomic(path, lambda handle: handle.write(content))


def main() -> None:
    """Write the masks of all series that PROJECT has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("source", "labels", "project"):
        parser.add_argument(name, type=Path)
    asked = parser.parse_args()
    pseudonyms = Pseudonyms(existing_key(default_key_file()))
    patients = {pseudonyms.series(row["SeriesInstanceUID"]): row["PatientID"] for row in read_csv(asked.labels)}
    pictures: dict[str, dict[int, Path]] = {}
    for row in read_csv(asked.source / "labels.csv"):
        pictures.setdefault(row["patient"], {})[int(row["slice"])] = asked.source / row["mask"]
    out = asked.project / "data/masks"
    for row in read_csv(asked.project / "data/ingested/index.csv"):
        mask = drawn(nifti.load(asked.project / row["path"]), pictures[patients[row["series"]]])
        save(mask, out / f"{row['series']}.nii.gz")
    print(f"{len(list(out.iterdir()))} masks in {out}")


if __name__ == "__main__":
    main()
