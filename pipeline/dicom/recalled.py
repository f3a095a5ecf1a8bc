"""What series came to when they were judged, so that headers that are as they were are not looked at again.

A series is known by the stamps of all its files and by the rules. One of whose volumes a file was lost, or never came
to be, is judged anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.contract import Selection
from pipeline.dicom.admission import Plan, Verdict
from pipeline.dicom.catalogue import Series
from pipeline.dicom.header import Instance
from pipeline.dicom.memory import Memory
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.saved import Saved
from pipeline.dicom.scan import described
from pipeline.dicom.stamp import Stamp, stamp


@dataclass(frozen=True)
class Recalled(Plan):
    """The plan of a volume that was read before; its planes are not known again.

    Attributes:
        saved: the volume.
        key: what the memory knows it by.
    """

    saved: Saved = field(repr=False)
    key: bytes


class Looked(NamedTuple):
    """A series as its files are now.

    Attributes:
        series: the series.
        stamps: of its files, by their paths.
        key: what stands for all that its judgement depends on.
    """

    series: Series
    stamps: dict[Path, Stamp | None]
    key: bytes


class Judgements:
    """The memory's rows on series."""

    def __init__(self, memory: Memory, names: Pseudonyms) -> None:
        self._memory, self._names = memory, names

    def look(self, series: Series, selection: Selection | None) -> Looked:
        """See `Looked`."""
        stamps = [stamp(f"{series.files.folder}/{name}") for name in series.files.names]
        rules = f"{series.uid}\0{series.refusal}\0{selection!r}\0{stamps}"
        key = self._memory.digest("series", rules, series.files.packed)
        return Looked(series, dict(zip(series.files.paths, stamps, strict=True)), key)

    def of(self, looked: Looked) -> list[Verdict] | None:
        """What a series came to; None where it has to be judged."""
        row = self._memory.series(looked.key)
        if row is None:
            return None
        first = Instance(next(iter(looked.stamps)), None, "", looked.series.uid, "", "", "")
        paths = [*looked.stamps]
        verdicts = []
        for reason, number, volume in row:
            plan = self._plan(volume, first, paths) if volume else None
            if volume and not plan:
                return None
            verdicts.append(Verdict(first, None, plan, reason, number))
        self._memory.use(looked.key)
        return verdicts

    def add(self, looked: Looked, verdicts: Sequence[Verdict], keys: Sequence[bytes]) -> None:
        """Remember what a series came to.

        Args:
            looked: the series, before its headers were read.
            verdicts: on it.
            keys: of the volumes that are taken, in their order.
        """
        rest, rows, places = iter(keys), [], {path: place for place, path in enumerate(looked.stamps)}
        for verdict in verdicts:
            volume = None
            if verdict.plan:
                fields = described(verdict.plan)
                fields["files"] = [places[path] for path in fields["files"]]
                volume = [next(rest).hex(), fields]
            rows.append([verdict.reason, verdict.volume_number, volume])
        self._memory.add_series(looked.key, rows, self._names.patient(verdicts[0].first.patient_id))
        self._memory.use(looked.key)

    def _plan(self, volume: list[Any], first: Instance, paths: Sequence[Path]) -> Recalled | None:
        key, fields = bytes.fromhex(volume[0]), volume[1]
        image = self._memory.volume(key)
        if not image:
            return None
        fields["files"] = tuple(paths[place] for place in fields["files"])
        fields["slice_keys"] = [(uid, number) for uid, number in fields["slice_keys"]]
        saved = Saved(self._memory.path(key), image.shape, image.spacing_mm, image.sha256, **fields)
        return Recalled((first,), (), saved.contrast, saved.volume_number, saved, key)
