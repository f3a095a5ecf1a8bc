"""Where every series went, as a STARD flow diagram counts it (Bossuyt et al. 2015, BMJ 351:h5527, item 19)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pipeline.clinical.split import SIDES
from pipeline.clinical.units import series_of
from pipeline.dicom.reasons import OF_FILES

Row = Mapping[str, str]


#: What is divided into with and without a label, and by what a volume's row is counted as one.
_COUNTED: Mapping[str, Callable[[Row], str]] = {
    "series": series_of,
    "volumes": lambda row: row["series"],
    "patients": lambda row: row["patient"],
}


def count(
    rejected: Iterable[Row], index: Sequence[Row], labels: Sequence[Row], split: Iterable[Row], slices: Sequence[Row]
) -> dict[str, Any]:
    """From what was found to the units of the test side, by the rows of the tables of that name.

    Args:
        rejected, index, labels: of data/ingested/.
        split: of data/split.csv.
        slices: of data/prepared/slices.csv.

    Returns:
        `series_found`, of which `series_refused` and `series_ingested`: a series of which some volumes were taken and
        others refused counts in both, as refusals are kept under tokens of their own. `files_refused`; `reasons`:
        {code: refusals of files and series}; `series_...`, `volumes_...` and `patients_...`: `ingested`, of which
        `without_label` and `labelled`; `sides`: of each side patients, series, units, slices. Each count is the sum of
        those that it is divided into: labelled series and patients are those of the sides.
    """
    refused = list(rejected)
    sources = {row["source"] for row in refused if row["reason"] not in OF_FILES}
    labelled = {row["series"] for row in labels}
    side_of = Counter(row["split"] for row in split)
    divided = {
        what: ({of(row) for row in index}, {of(row) for row in index if row["series"] in labelled})
        for what, of in _COUNTED.items()
    }
    return {
        "series_found": len(divided["series"][0]) + len(sources),
        "series_refused": len(sources),
        "files_refused": sum(row["reason"] in OF_FILES for row in refused),
        **{f"{what}_ingested": len(everything) for what, (everything, _) in divided.items()},
        **{f"{what}_without_label": len(everything - named) for what, (everything, named) in divided.items()},
        **{f"{what}_labelled": len(named) for what, (_, named) in divided.items()},
        "reasons": dict(sorted(Counter(row["reason"] for row in refused).items())),
        "sides": {side: _side(side, side_of[side], slices) for side in SIDES},
    }


def _side(side: str, patients: int, slices: Sequence[Row]) -> dict[str, int]:
    here = [row for row in slices if row["split"] == side]
    return {
        "patients": patients,
        "series": len({series_of(row) for row in here}),
        "units": len({row["unit"] for row in here}),
        "slices": len(here),
    }
