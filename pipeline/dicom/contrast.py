"""T1, T2, PD or FLAIR: from the timing of the sequence; its description only breaks ties.

The bounds are those of textbook brain protocols at 1.5 T and 3 T (Bernstein, King, Zhou: Handbook of MRI Pulse
Sequences, 2004, chapters 14 and 17); a sequence outside them is `?`.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.dicom.values import positive, words

CONTRASTS = ("T1", "T2", "PD", "FLAIR")
UNKNOWN = "?"

#: Fluid is nulled by inversion times of FLAIR; shorter ones null fat (STIR) or make T1 (T1-FLAIR, MPRAGE).
FLAIR_LEAST_TI_MS, T1_LEAST_TI_MS = 1500.0, 350.0
#: Spin echo: short TR is T1; with long TR, the echo time parts proton density from T2.
SHORT_TR_MS, LONG_TR_MS = 1200.0, 2000.0
SHORT_TE_MS, LONG_TE_MS = 40.0, 70.0
#: Gradient echo: beyond this echo time it is T2*, which is none of the four.
GRADIENT_LONGEST_TE_MS = 12.0
#: T1 of brain in ms: a spoiled gradient echo above the Ernst angle for it is T1-weighted.
BRAIN_T1_MS = 1000.0

TAGS = [
    *("ScanningSequence", "SequenceVariant", "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "AngioFlag"),
    *("AcquisitionContrast", "SeriesDescription", "ProtocolName", "EchoPulseSequence", "EchoPlanarPulseSequence"),
    *("TimeOfFlightContrast", "SteadyStatePulseSequence"),
]

#: What a conversion from classic files could not place (PS3.3 C.7.6.16.2.25.1 and .2) may hold the classic timing.
_CONVERTED = ("UnassignedSharedConvertedAttributesSequence", "UnassignedPerFrameConvertedAttributesSequence")
MACROS = [
    *("MRTimingAndRelatedParametersSequence", "MREchoSequence", "MRModifierSequence", "MRImageFrameTypeSequence"),
    *_CONVERTED,
]

#: AcquisitionContrast (PS3.3 C.8.13.3.3.1) to ours; further terms are none of the four.
_ACQUISITION = {"T1": "T1", "T2": "T2", "PROTON_DENSITY": "PD", "FLUID_ATTENUATED": "FLAIR"}
_SILENT = {"", "UNKNOWN", "MIXED"}
_WORDS = {
    "FLAIR": r"flair|dark.?fluid",
    "T1": r"t1|mprage|mp.?rage|spgr|bravo|tfl\b",
    "PD": r"\bpd|proton",
    "T2": r"t2(?!.?(\*|star|flair))",
}


@dataclass(frozen=True)
class Timing:
    """What a header tells of the contrast.

    Attributes:
        sequence: of SE, GR, IR, EP; `SS` stands for a balanced steady state.
        repetition_time_ms, echo_time_ms, inversion_time_ms, flip_angle_deg: None where missing.
        prepared: magnetisation is prepared by an inversion, whatever the time given.
        acquisition: AcquisitionContrast.
        hint: contrasts that the description names; the text itself is not kept.
        special: diffusion, angiography or the like.
    """

    sequence: frozenset[str]
    repetition_time_ms: float | None
    echo_time_ms: float | None
    inversion_time_ms: float | None
    flip_angle_deg: float | None
    prepared: bool
    acquisition: str
    hint: frozenset[str]
    special: bool


def classic(dataset: Any, hint_from: Any = None) -> Timing:
    """Timing of a classic MR header; the description is taken from `hint_from` where that is another data set."""
    sequence = set(words(dataset.get("ScanningSequence")))
    variant = set(words(dataset.get("SequenceVariant")))
    if "SS" in variant and "GR" in sequence and not {"SP", "MP"} & variant:
        sequence |= {"SS"}
    return Timing(
        sequence=frozenset(sequence),
        repetition_time_ms=positive(dataset.get("RepetitionTime")),
        echo_time_ms=positive(dataset.get("EchoTime")),
        inversion_time_ms=positive(dataset.get("InversionTime")),
        flip_angle_deg=positive(dataset.get("FlipAngle")),
        prepared="IR" in sequence or "MP" in variant,
        acquisition=str(dataset.get("AcquisitionContrast") or ""),
        hint=_hint(dataset if hint_from is None else hint_from),
        special=dataset.get("AngioFlag") == "Y",
    )


def enhanced(dataset: Any, macro: Callable[[str], Any]) -> Timing:
    """Timing of a frame; `macro` gives the item of a functional group of `MACROS`, an empty one where it is missing."""
    for converted in _CONVERTED:
        if macro(converted).get("RepetitionTime") is not None:
            return classic(macro(converted), dataset)
    timing, modifier = macro("MRTimingAndRelatedParametersSequence"), macro("MRModifierSequence")
    acquisition = macro("MRImageFrameTypeSequence").get("AcquisitionContrast")
    inversions = modifier.get("InversionTimes")
    if isinstance(inversions, Iterable):
        inversions = next(iter(inversions), None)
    family = {"SPIN": {"SE"}, "GRADIENT": {"GR"}, "BOTH": {"SE", "GR"}}
    sequence = family.get(str(dataset.get("EchoPulseSequence")), set())
    sequence |= {"EP"} if dataset.get("EchoPlanarPulseSequence") == "YES" else set()
    sequence |= {"SS"} if dataset.get("SteadyStatePulseSequence") in {"FREE_PRECESSION", "TRANSVERSE"} else set()
    return Timing(
        sequence=frozenset(sequence),
        repetition_time_ms=positive(timing.get("RepetitionTime")),
        echo_time_ms=positive(macro("MREchoSequence").get("EffectiveEchoTime")),
        inversion_time_ms=positive(inversions),
        flip_angle_deg=positive(timing.get("FlipAngle")),
        prepared=modifier.get("InversionRecovery") == "YES",
        acquisition=str(acquisition or dataset.get("AcquisitionContrast") or ""),
        hint=_hint(dataset),
        special=str(dataset.get("TimeOfFlightContrast")) == "YES",
    )


def infer(timing: Timing) -> str:
    """One of `CONTRASTS`, or `UNKNOWN`.

    Where the timing leaves several, AcquisitionContrast decides, then the description, if it names exactly one of them.
    """
    acquisition = _ACQUISITION.get(timing.acquisition, timing.acquisition)
    if timing.special or not {acquisition} & {*CONTRASTS, *_SILENT}:
        return UNKNOWN
    likely = candidates(timing)
    for hint in (frozenset({acquisition}), timing.hint):
        if len(likely) > 1 and likely & hint:
            likely = likely & hint
    return next(iter(likely)) if len(likely) == 1 else UNKNOWN


def candidates(timing: Timing) -> frozenset[str]:
    """The contrasts that the timing allows; all four where it tells nothing."""
    tr, te = timing.repetition_time_ms, timing.echo_time_ms
    if {"EP", "SS"} & timing.sequence:
        return frozenset()
    if tr is None or te is None:
        return frozenset(CONTRASTS)
    if "GR" in timing.sequence and "SE" not in timing.sequence:
        return _gradient_echo(timing, tr, te)
    return _inversion(timing, tr, te) if timing.prepared else _spin_echo(tr, te)


def _inversion(timing: Timing, tr: float, te: float) -> frozenset[str]:
    inversion = timing.inversion_time_ms
    if inversion is None:
        return frozenset({"FLAIR", "T1"} if te < LONG_TE_MS else {"FLAIR", "T2"})
    if inversion >= FLAIR_LEAST_TI_MS:
        return frozenset({"FLAIR"} if te >= LONG_TE_MS and tr > LONG_TR_MS else {"FLAIR", "T1"})
    return frozenset({"T1"} if inversion >= T1_LEAST_TI_MS and te < SHORT_TE_MS else ())


def _spin_echo(tr: float, te: float) -> frozenset[str]:
    if tr <= SHORT_TR_MS:
        return frozenset({"T1"} if te < SHORT_TE_MS else {"T1", "T2"})
    if tr < LONG_TR_MS:
        return frozenset({"T1", "PD"} if te < SHORT_TE_MS else {"T2"})
    if te < SHORT_TE_MS:
        return frozenset({"PD"})
    return frozenset({"T2"} if te >= LONG_TE_MS else {"PD", "T2"})


def _gradient_echo(timing: Timing, tr: float, te: float) -> frozenset[str]:
    if te > GRADIENT_LONGEST_TE_MS:
        return frozenset()
    if timing.prepared or timing.inversion_time_ms:
        return frozenset({"T1"})
    flip = timing.flip_angle_deg
    if flip is None:
        return frozenset({"T1", "PD"})
    ernst_angle_deg = math.degrees(math.acos(math.exp(-tr / BRAIN_T1_MS)))
    return frozenset({"T1"} if flip > ernst_angle_deg else {"T1", "PD"})


def _hint(dataset: Any) -> frozenset[str]:
    return _hint_of(" ".join([str(dataset.get(key) or "") for key in ("SeriesDescription", "ProtocolName")]))


@functools.lru_cache(maxsize=64)
def _hint_of(description: str) -> frozenset[str]:
    """The contrasts that a text names; the slices of a series have the same."""
    text = description.lower().replace("_", " ")
    if re.search(_WORDS["FLAIR"], text) and not re.search(r"t1.{0,3}flair", text):
        return frozenset({"FLAIR"})
    return frozenset(name for name in ("T1", "PD", "T2") if re.search(_WORDS[name], text))
