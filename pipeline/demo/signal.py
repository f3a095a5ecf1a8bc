"""MR signal equations with the relaxation times of tissues at 1.5 and 3 tesla.

`tissues.csv` follows, for grey and white matter, Rooney et al., Magn Reson Med 57:308 (2007; T1 at 1.5 T), Stanisz et
al., Magn Reson Med 54:507 (2005; T2 at 1.5 T) and Wansapura et al., J Magn Reson Imaging 9:531 (1999; 3 T); for
cerebrospinal fluid, Lin et al., J Magn Reson Imaging 14:752 (2001) and Spijkerman et al., MAGMA 31:415 (2018); for
subcutaneous fat (scalp), de Bazelaire et al., Radiology 230:652 (2004); for proton densities, Whittall et al., Magn
Reson Med 37:34 (1997). `lesion` has the long T1 and T2 that are reported for diffuse glioma (Badve et al., AJNR 38:492,
2017), rounded; `core`, the fluid inside a ring-like lesion, lies between it and cerebrospinal fluid. Bone is absent:
its T2 is below 1 ms, so it gives no signal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.files import read_csv

_TABLES = Path(__file__).parent


@dataclass(frozen=True)
class Tissue:
    """T1 and T2 in ms; proton density relative to water."""

    t1_ms: float
    t2_ms: float
    proton_density: float

    def towards(self, other: Tissue, share: float) -> Tissue:
        """This tissue, changed by `share` of the way to `other`."""

        def mix(here: float, there: float) -> float:
            return here + share * (there - here)

        return Tissue(
            mix(self.t1_ms, other.t1_ms),
            mix(self.t2_ms, other.t2_ms),
            mix(self.proton_density, other.proton_density),
        )


@dataclass(frozen=True)
class Sequence:
    """The timing of a spin echo; with an inversion time, of an inversion recovery."""

    contrast: str
    repetition_time_ms: float
    echo_time_ms: float
    inversion_time_ms: float | None
    echo_train_length: int

    def signal(self, tissue: Tissue) -> float:
        """Signal of a tissue, relative to fully relaxed water; negative before an inverted tissue's null."""
        if self.inversion_time_ms is None:
            return spin_echo(tissue, self.repetition_time_ms, self.echo_time_ms)
        return inversion_recovery(tissue, self.repetition_time_ms, self.echo_time_ms, self.inversion_time_ms)


def spin_echo(tissue: Tissue, repetition_time_ms: float, echo_time_ms: float) -> float:
    """S = PD (1 - exp(-TR/T1)) exp(-TE/T2)."""
    recovered = 1 - math.exp(-repetition_time_ms / tissue.t1_ms)
    return tissue.proton_density * recovered * math.exp(-echo_time_ms / tissue.t2_ms)


def inversion_recovery(
    tissue: Tissue, repetition_time_ms: float, echo_time_ms: float, inversion_time_ms: float
) -> float:
    """S = PD (1 - 2 exp(-TI/T1) + exp(-TR/T1)) exp(-TE/T2), with its sign: the magnitude comes with the noise."""
    inverted = 2 * math.exp(-inversion_time_ms / tissue.t1_ms)
    recovered = 1 - inverted + math.exp(-repetition_time_ms / tissue.t1_ms)
    return tissue.proton_density * recovered * math.exp(-echo_time_ms / tissue.t2_ms)


@cache
def tissues(field_strength_t: float) -> Mapping[str, Tissue]:
    """Every tissue at a field strength of 1.5 or 3 tesla."""
    return {
        row["tissue"]: Tissue(float(row["t1_ms"]), float(row["t2_ms"]), float(row["proton_density"]))
        for row in read_csv(_TABLES / "tissues.csv")
        if float(row["field_strength_t"]) == field_strength_t
    }


@cache
def sequence(contrast: str, field_strength_t: float) -> Sequence:
    """The sequence that gives `contrast` (FLAIR, T1 or T2) at a field strength."""
    for row in read_csv(_TABLES / "sequences.csv"):
        if row["contrast"] == contrast and float(row["field_strength_t"]) == field_strength_t:
            inversion = row["inversion_time_ms"]
            return Sequence(
                contrast,
                float(row["repetition_time_ms"]),
                float(row["echo_time_ms"]),
                float(inversion) if inversion else None,
                int(row["echo_train_length"]),
            )
    raise KeyError((contrast, field_strength_t))
