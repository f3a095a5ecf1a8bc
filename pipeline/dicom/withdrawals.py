"""Scans of patients who were withdrawn: what ingest does with them."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from pipeline.dicom.encoded import Header
from pipeline.dicom.header import Instance
from pipeline.dicom.memory import patient_of
from pipeline.dicom.pseudonym import Pseudonyms


class Withdrawals:
    """Marks the headers of patients who were withdrawn."""

    def __init__(self, names: Pseudonyms, withdrawn: Set[str]) -> None:
        self._names, self._withdrawn = names, withdrawn

    def marked(self, header: Header) -> Header:
        """A `catalogue.Mark`: the header, refused where its patient is withdrawn."""
        if self._withdrawn and isinstance(header, Instance) and patient_of(header, self._names) in self._withdrawn:
            return replace(header, refusal="withdrawn", frames=(), pixels=None)
        return header
