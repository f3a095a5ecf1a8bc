"""Stage `split`: data/ingested -> data/split.csv."""

from __future__ import annotations

from pathlib import Path

from pipeline.clinical import split as sides
from pipeline.config import Params
from pipeline.errors import LabelError
from pipeline.files import read_csv, write_csv
from pipeline.progress import say
from pipeline.stages import runner

INGESTED = Path("data/ingested")
OUT = Path("data/split.csv")


def split(params: Params) -> None:
    """Divide the labelled patients and write their sides, in the order of their hashes.

    Raises:
        LabelError: nothing is labelled, as where data.labels is null.
        SplitError: an unknown site, or too few patients of a class on a side.
        LeakageError: the same scan under two patients.
    """
    labels = read_csv(INGESTED / "labels.csv")
    if not labels:
        remedy = "Set data.labels in params.yaml to a CSV file of labels, and run ingest again."
        raise LabelError(f"a labelled series in {INGESTED}/labels.csv", "none", remedy)
    targets = params.data.targets
    patients = sides.labelled_patients(read_csv(INGESTED / "index.csv"), labels, targets)
    side = sides.divide(patients, params.split, params.seed, targets)
    rows = [
        {"patient": p.patient, "split": side[p.patient], "site": p.site, "label": p.label(targets)} for p in patients
    ]
    write_csv(OUT, sides.COLUMNS, rows)
    sides.check(read_csv(OUT))
    words = ["a positive unit"] if targets.kind == "binary" else list(targets.named)
    for name in sides.SIDES:
        here = [p for p in patients if side[p.patient] == name]
        counts = (f"{sum(place in p.present for p in here)} with {what}" for place, what in enumerate(words))
        say(f"{name}: {len(here)} patients, {', '.join(counts)}")


if __name__ == "__main__":
    runner.run("split", split)
