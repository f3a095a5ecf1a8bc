from __future__ import annotations

import resource
import subprocess
import sys

FULL_DISK = """
import sys
from pathlib import Path
from pipeline.dicom.saved import Encoded, Image, save
from pipeline.errors import StorageError
try:
    save(Encoded(Image((2, 2, 2), (1.0, 1.0, 1.0), ""), bytes(200_000)), Path(sys.argv[1]))
except StorageError as error:
    print(error)
"""


def test_full_disk_leaves_what_was_there(tmp_path):
    path = tmp_path / "v.nii.gz"
    path.write_bytes(b"before")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path], preexec_fn=limit, capture_output=True, text=True, check=True
    )
    assert f"expected room on the disk for {path}" in run.stdout
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
