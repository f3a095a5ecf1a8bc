"""The tables of the profile: what is done with each attribute, which texts and which private elements stay.

Data files beside this module: `confidentiality.csv` (PS3.15 2024b, table E.1-1), `kept_text.csv`, `safe_private.csv`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, cast

from pipeline.dicom.private import Private

Action = Literal["X", "Z", "D", "U"]
Option = Literal["", "dates", "sex_age"]


@dataclass(frozen=True)
class Rule:
    """One row of the table.

    Attributes:
        tag: eight hexadecimal digits, `x` for any.
        keyword, vr: as in PS3.6.
        standard: the action of the basic profile, with its alternatives, as `X/Z/D`.
        action: what is done: X remove, Z empty, D dummy, U other UID.
        option: what goes before the action: `dates` are shifted, `sex_age` stays where it is declared.
    """

    tag: str
    keyword: str
    vr: str
    standard: str
    action: Action
    option: Option


#: What is no attribute of the table but identifies as well, or means nothing without what goes: lengths of groups,
#: overlays whole, encrypted identifiers, parameters of signatures, tables for the display.
_OURS = tuple(
    Rule(tag, keyword, vr, "", "X", "")
    for tag, keyword, vr in (
        ("xxxx0000", "", ""),
        ("60xxxxxx", "", ""),
        ("04000500", "EncryptedAttributesSequence", "SQ"),
        ("4FFE0001", "MACParametersSequence", "SQ"),
        ("00283110", "SoftcopyVOILUTSequence", "SQ"),
        ("00283010", "VOILUTSequence", "SQ"),
    )
)


@cache
def rules() -> tuple[Rule, ...]:
    """Every row of the table, in the order of the tags."""
    return tuple(
        Rule(
            row["tag"],
            row["keyword"],
            row["vr"],
            row["action"],
            cast(Action, row["here"]),
            cast(Option, row["option"]),
        )
        for row in _read("confidentiality.csv")
    )


def rule(tag: int) -> Rule | None:
    """The row that a tag falls under, also through a repeating group; None where it is outside the table."""
    return _exact().get(tag) or next((found for pattern, found in _patterns() if pattern.match(f"{tag:08X}")), None)


@cache
def kept_text() -> frozenset[str]:
    """Keywords of the texts outside the table that stay."""
    return frozenset(row["keyword"] for row in _read("kept_text.csv"))


@cache
def safe_private() -> Mapping[Private, str]:
    """The private elements that stay, each with its VR: numbers, or codes in capitals."""
    return {
        Private(row["creator"], int(row["group"], 16), int(row["element"], 16)): row["vr"]
        for row in _read("safe_private.csv")
    }


@cache
def _exact() -> dict[int, Rule]:
    return {int(row.tag, 16): row for row in (*rules(), *_OURS) if "x" not in row.tag}


@cache
def _patterns() -> list[tuple[re.Pattern[str], Rule]]:
    repeating = [row for row in (*rules(), *_OURS) if "x" in row.tag]
    return [(re.compile(row.tag.replace("x", "[0-9A-F]")), row) for row in repeating]


def _read(name: str) -> Iterable[dict[str, str]]:
    """Rows of a data file; lines that begin with # are for people."""
    text = files("pipeline.dicom").joinpath(name).read_text(encoding="utf-8")
    return csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
