"""Scans of patients who were withdrawn: what ingest does with them."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from pipeline.dicom.catalogue import Member
from pipeline.dicom.encoded import Header
from pipeline.dicom.header import Instance
from pipeline.dicom.pseudonym import Pseudonyms


class Withdrawals:
    """Marks the headers of patients who were withdrawn."""

    def __init__(self, names: Pseudonyms, withdrawn: Set[str]) -> None:
        self._names, self._withdrawn = names, withdrawn

    def marked(self, header: Header) -> Header:
        """A `catalogue.Mark`: the header, refused where its patient is withdrawn."""
        if isinstance(header, Instance) and self._refuses(header.patient_id):
            return replace(header, refusal="withdrawn", frames=(), pixels=None)
        return header

    def marked_member(self, file: Member) -> Member:
        """The same for what is known of a file without its header."""
        return file._replace(refusal="withdrawn") if self._refuses(file.patient_id) else file

    def _refuses(self, patient_id: str) -> bool:
        return bool(self._withdrawn and patient_id) and self._names.patient(patient_id) in self._withdrawn
