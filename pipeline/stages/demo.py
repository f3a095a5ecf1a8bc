"""Stage `demo`: simulated MRI studies as DICOM in data/demo/dicom, with their labels file and manifest."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

from pipeline import manifest
from pipeline.config import Params
from pipeline.demo import studies
from pipeline.demo.cohort import census, cohort
from pipeline.dicom.pseudonym import DEMO
from pipeline.files import write_csv
from pipeline.parallel import ordered_map
from pipeline.progress import say, track
from pipeline.stages import runner

LABELS = Path("data/demo/labels.csv")
MASKS = Path("data/demo/masks")
#: Each worker holds the template: about 200 MB.
MOST_WORKERS = 8


def demo(params: Params) -> None:
    """Write the demo's studies, labels, lesions and manifest; what an earlier run left there is removed first."""
    patients = cohort(params.demo, params.seed)
    say(f"demo: {census(patients)}")
    for folder in (DEMO, MASKS):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    write = partial(studies.write, seed=params.seed, folder=DEMO, masks=MASKS)
    with ordered_map(min(len(os.sched_getaffinity(0)), MOST_WORKERS)) as each:
        rows = [row for some in track(each(write, patients), "demo", total=len(patients)) for row in some]
    write_csv(LABELS, studies.COLUMNS, rows)
    with tempfile.TemporaryDirectory() as memory:  # every file is new
        manifest.write(DEMO, Path(memory))


if __name__ == "__main__":
    runner.run("demo", demo)
