"""T1, T2, PD or FLAIR: from the timing of the sequence; ImageType and the description only break ties.

The bounds are those of textbook brain protocols at 1.5 T and 3 T (Bernstein, King, Zhou: Handbook of MRI Pulse
Sequences, 2004, chapters 14 and 17); a sequence outside them is `?`.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

from pipeline.contract import AcquisitionType, Contrast
from pipeline.dicom.values import positive, words

CONTRASTS = get_args(Contrast)
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
    *("TimeOfFlightContrast", "SteadyStatePulseSequence", "MRAcquisitionType", "ImageType"),
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
#: Words of ImageType or FrameType that say the same, or that it is none of the four (PS3.3 C.8.13.1.1.1).
_FLAVOURS = {
    *_ACQUISITION,
    *("DIFFUSION", "ELASTOGRAPHY", "FLOW_ENCODED", "FMRI", "PERFUSION", "STIR", "T2_STAR", "TAGGING", "TEMPERATURE"),
    *("TOF", "VELOCITY", "ASL"),
}
#: Words of Philips's ImageType for the sequence, for where ScanningSequence says RM (research mode) or nothing.
_SEQUENCES = {word: {"SE"} for word in ("SE", "M_SE")} | {word: {"GR"} for word in ("FFE", "M_FFE")}
_SEQUENCES |= {word: {"SE", "IR"} for word in ("IR", "M_IR")}
_KNOWN_SEQUENCES = {"SE", "GR", "IR", "EP"}
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
        flavour: what ImageType says of the same; empty where it says nothing.
        hint: contrasts that the description names; the text itself is not kept.
        special: diffusion, angiography or the like.
        acquisition_type: 2D or 3D; empty where the header does not say.
    """

    sequence: frozenset[str]
    repetition_time_ms: float | None
    echo_time_ms: float | None
    inversion_time_ms: float | None
    flip_angle_deg: float | None
    prepared: bool
    acquisition: str
    flavour: str
    hint: frozenset[str]
    special: bool
    acquisition_type: str


class Inference(NamedTuple):
    """A contrast, and what it was inferred from.

    Attributes:
        contrast: one of `CONTRASTS`, or `UNKNOWN`.
        likely: the contrasts that the timing allows.
        by: `timing`, or what broke the tie that it left: `AcquisitionContrast`, `ImageType`, `description`. Of an
            unknown one: `special` where the header says that it is none of the four, `timing` where that allows none,
            `tie` where nothing broke it, `planes` where planes of one volume differ.
    """

    contrast: str
    likely: frozenset[str]
    by: str


def classic(dataset: Any, hint_from: Any = None) -> Timing:
    """Timing of a classic MR header; the description is taken from `hint_from` where that is another data set."""
    described = dataset if hint_from is None else hint_from
    types = words(described.get("ImageType"))
    sequence = set(words(dataset.get("ScanningSequence")))
    if not sequence & _KNOWN_SEQUENCES:
        sequence = sequence.union(*(_SEQUENCES.get(word, set()) for word in types[2:]))
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
        flavour=_flavour(types),
        hint=_hint(described),
        special=dataset.get("AngioFlag") == "Y",
        acquisition_type=_acquisition_type(dataset) or _acquisition_type(described),
    )


def enhanced(dataset: Any, macro: Callable[[str], Any]) -> Timing:
    """Timing of a frame; `macro` gives the item of a functional group of `MACROS`, an empty one where it is missing."""
    for converted in _CONVERTED:
        if macro(converted).get("RepetitionTime") is not None:
            return classic(macro(converted), dataset)
    timing, modifier = macro("MRTimingAndRelatedParametersSequence"), macro("MRModifierSequence")
    kind = macro("MRImageFrameTypeSequence")
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
        acquisition=str(kind.get("AcquisitionContrast") or dataset.get("AcquisitionContrast") or ""),
        flavour=_flavour(words(kind.get("FrameType") or dataset.get("ImageType"))),
        hint=_hint(dataset),
        special=str(dataset.get("TimeOfFlightContrast")) == "YES",
        acquisition_type=_acquisition_type(dataset),
    )


def infer(timing: Timing) -> Inference:
    """One of `CONTRASTS`, or `UNKNOWN`, and why.

    Where the timing leaves several, AcquisitionContrast decides, then ImageType, then the description, if it names
    exactly one of them.
    """
    acquisition, flavour = (_ACQUISITION.get(term, term) for term in (timing.acquisition, timing.flavour))
    if timing.special or not {acquisition, flavour} <= {*CONTRASTS, *_SILENT}:
        return Inference(UNKNOWN, frozenset(), "special")
    likely = left = candidates(timing)
    by = "timing"
    for source, named in (
        ("AcquisitionContrast", {acquisition}),
        ("ImageType", {flavour}),
        ("description", timing.hint),
    ):
        if len(left) > 1 and left & named:
            left, by = left & named, source
    if len(left) == 1:
        return Inference(next(iter(left)), likely, by)
    return Inference(UNKNOWN, likely, "tie" if left else "timing")


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


def _flavour(types: tuple[str, ...]) -> str:
    return next((word for word in types[2:] if word in _FLAVOURS), "")


def _acquisition_type(dataset: Any) -> str:
    said = str(dataset.get("MRAcquisitionType") or "")
    return said if said in get_args(AcquisitionType) else ""


def _hint(dataset: Any) -> frozenset[str]:
    return _hint_of(" ".join([str(dataset.get(key) or "") for key in ("SeriesDescription", "ProtocolName")]))


@functools.lru_cache(maxsize=64)
def _hint_of(description: str) -> frozenset[str]:
    """The contrasts that a text names; the slices of a series have the same."""
    text = description.lower().replace("_", " ")
    if re.search(_WORDS["FLAIR"], text) and not re.search(r"t1.{0,3}flair", text):
        return frozenset({"FLAIR"})
    return frozenset(name for name in ("T1", "PD", "T2") if re.search(_WORDS[name], text))
