"""Stage `sources`: data.dicom_dir -> its manifest, on which ingest depends in place of the folder.

It stands in data/own/dvc.yaml and, with scans of one's own, runs at every `dvc repro`: DVC would be slower at it.
"""

from __future__ import annotations

from pipeline import manifest
from pipeline.config import Params
from pipeline.stages import runner


def sources(params: Params) -> None:
    """Write how much the folder holds, and one digest of it: no name is in the manifest.

    Raises:
        DicomError: no such folder.
        StorageError: the disk is full.
    """
    manifest.write(params.data.dicom_dir, params.cache("sources"))


if __name__ == "__main__":
    runner.run("sources", sources)
