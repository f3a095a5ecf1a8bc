"""Scans of patients who were withdrawn: what ingest does with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import replace
from typing import TypeVar

from pipeline.contract import Selection
from pipeline.dicom.admission import Verdict
from pipeline.dicom.catalogue import Series
from pipeline.dicom.encoded import Header
from pipeline.dicom.header import Instance
from pipeline.dicom.load import Anew
from pipeline.dicom.memory import patient_of
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.parallel import OrderedMap

AnyHeader = TypeVar("AnyHeader", Instance, Header)


class Withdrawals:
    """Marks the headers of patients who were withdrawn."""

    def __init__(self, names: Pseudonyms, withdrawn: Set[str]) -> None:
        self._names, self._withdrawn = names, withdrawn

    def marked(self, header: AnyHeader) -> AnyHeader:
        """The header, refused where its patient is withdrawn."""
        if self._withdrawn and isinstance(header, Instance) and patient_of(header, self._names) in self._withdrawn:
            return replace(header, refusal="withdrawn", frames=(), pixels=None)
        return header


class AnewButWithdrawn(Anew):
    """Reads every file, and refuses the series of withdrawn patients."""

    def __init__(self, withdrawals: Withdrawals) -> None:
        self._withdrawals = withdrawals

    def verdicts(
        self, run: OrderedMap, catalogue: Iterable[Series], selection: Selection | None
    ) -> Iterator[list[Verdict]]:
        """See `load.Reader`."""
        for verdicts in super().verdicts(run, catalogue, selection):
            first = self._withdrawals.marked(verdicts[0].first)
            yield [Verdict(first, None, reason="withdrawn")] if first.refusal == "withdrawn" else verdicts
