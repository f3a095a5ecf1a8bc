"""Why each series was taken or left, for a terminal of 100 columns: pseudonyms, numbers and words of ours alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import wrap

from pipeline.contract import Selection
from pipeline.dicom import selection as rules
from pipeline.dicom.admission import Plan, Unit, Verdict, outcome, unit_of
from pipeline.dicom.contrast import CONTRASTS, UNKNOWN, Inference, Timing
from pipeline.dicom.geometry import MIN_SLICES
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.reasons import REASONS, Rejection
from pipeline.dicom.traits import Traits

WIDTH = 100

_INDENT = " " * 9
_SEQUENCES = ("SE", "GR", "IR", "EP", "SS")  # other words of ScanningSequence are not ours, and could be anything

#: The volume that is taken of each study and contrast.
Best = dict[Unit, Verdict]


def lines(
    series: Sequence[Sequence[Verdict]], refused: Sequence[Rejection], names: Pseudonyms, selection: Selection
) -> Iterator[str]:
    """Yield the rules, a block for each series under its patient and study, and the sums.

    Args:
        series: the verdicts of `load.survey`.
        refused: the files of no series, likewise.
        names: the key.
        selection: the rules that the verdicts go by.
    """
    yield from wrap(f"Rules: {', '.join(selection.rules)}.", WIDTH)
    best = {unit_of(verdict): verdict for verdicts in series for verdict in verdicts if verdict.plan}
    ordered = sorted(series, key=lambda verdicts: (_study(verdicts, names), _name(verdicts[0], names)))
    for study, group in groupby(ordered, key=lambda verdicts: _study(verdicts, names)):
        yield ""
        yield study
        for verdicts in group:
            # Three hundred time points that repeat a picture are one block.
            blocks = ((verdict, _block(verdict, best, names, selection)) for verdict in verdicts)
            for (heading, *rest), alike in groupby(blocks, key=lambda pair: pair[1]):
                volumes = [verdict for verdict, _ in alike]
                yield f"  {'taken' if volumes[0].plan else 'left ':5}  {_named(volumes, names):17}  {heading}".rstrip()
                yield from rest
    yield ""
    yield from _sums(series, refused)


def _study(verdicts: Sequence[Verdict], names: Pseudonyms) -> str:
    first = verdicts[0].first
    patient = names.patient(first.patient_id) if first.patient_id else "P-?"
    return f"{patient}  {names.study(first.study_uid) if first.study_uid else 'E-?'}"


def _name(verdict: Verdict, names: Pseudonyms) -> str:
    return names.volume(verdict.first.series_uid, verdict.volume_number)


def _named(volumes: Sequence[Verdict], names: Pseudonyms) -> str:
    """The name of a volume, or of the first and the last of several."""
    first = _name(volumes[0], names)
    return first if len(volumes) == 1 else f"{first} to -v{volumes[-1].volume_number}"


def _block(verdict: Verdict, best: Best, names: Pseudonyms, selection: Selection) -> tuple[str, ...]:
    """What was inferred, from what, and the rule that decided; the first line has no name yet."""
    traits, sentences = verdict.traits, []
    if traits:
        sentences.append(f"{_numbers(traits.timing)}: {_contrast(traits.inference)}")
    if verdict.reason:
        sentences.append(f"{verdict.reason}: {_rule(verdict, best, names, selection)}")
    elif traits and selection.best_of_study:
        best_of = traits.inference.contrast.replace(UNKNOWN, "of no known contrast")
        sentences.append(f"the best {best_of} in its study")
    folded = [wrap(text, WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT + "  ") for text in sentences]
    return (_heading(traits) if traits else "", *(line for text in folded for line in text))


def _heading(traits: Traits) -> str:
    slices = "1 slice" if traits.n_slices == 1 else f"{traits.n_slices} slices"
    apart = "" if traits.step_mm is None else f", {traits.step_mm:g} mm apart"
    plane = traits.plane or "no plane"
    return f"{traits.inference.contrast:5}  {plane:8}  {traits.acquisition_type or '?D'}  {slices}{apart}"


def _numbers(timing: Timing) -> str:
    """The sequence and its times."""
    times = {"TR": timing.repetition_time_ms, "TE": timing.echo_time_ms, "TI": timing.inversion_time_ms}
    said = [
        " ".join(word for word in _SEQUENCES if word in timing.sequence) or "no known sequence",
        *(f"{name} {value:g} ms" for name, value in times.items() if value is not None),
        *([] if timing.flip_angle_deg is None else [f"flip {timing.flip_angle_deg:g}°"]),
        *(["inversion"] if timing.prepared and timing.inversion_time_ms is None else []),
    ]
    return ", ".join(said)


def _contrast(inference: Inference) -> str:
    """What follows of these for the contrast."""
    allowed = " or ".join(contrast for contrast in CONTRASTS if contrast in inference.likely)
    if len(inference.likely) == len(CONTRASTS):
        allowed = "TR or TE is missing"
    if inference.by == "timing":
        return allowed or f"none of {', '.join(CONTRASTS)}"
    return {
        "special": "diffusion, angiography or the like, by the header's word",
        "tie": f"{allowed}, and nothing breaks the tie",
        "planes": "the planes differ in contrast",
    }.get(inference.by, f"{allowed}; {inference.by} broke the tie, for {inference.contrast}")


def _rule(verdict: Verdict, best: Best, names: Pseudonyms, selection: Selection) -> str:
    """The rule that decided, with its values; else what the reason means."""
    traits, reason = verdict.traits, verdict.reason or ""
    if traits is None:
        return REASONS[reason]
    if reason == "too_few_slices":
        return f"{traits.n_slices} of at least {max(selection.min_slices, MIN_SLICES)} (ingest.min_slices)"
    if reason == "contrast_not_selected":
        return f"{traits.inference.contrast} is not in ingest.contrasts: {_list(selection.contrasts)}"
    if reason == "plane_not_selected":
        return f"{traits.plane} is not in ingest.planes: {_list(selection.planes)}"
    if reason == "acquisition_type_not_selected":
        found = traits.acquisition_type or "no MRAcquisitionType, which"
        return f"{found} is not in ingest.acquisition_types: {_list(selection.acquisition_types)}"
    if reason == "not_best_of_study":
        return _better(best[unit_of(verdict)], traits, names, selection)
    return REASONS[reason]


def _list(values: Sequence[str] | None) -> str:
    return f"[{', '.join(values or [])}]"


def _better(winner: Verdict, traits: Traits, names: Pseudonyms, selection: Selection) -> str:
    """Why another volume was taken of the study."""
    name = _name(winner, names)
    assert winner.traits is not None
    merit = rules.decisive(winner.traits, traits, selection.best_of_study or [])
    if merit == "most_slices":
        return f"most_slices is for {name}, which has {winner.traits.n_slices} slices"
    if merit == "thinnest":
        return f"thinnest is for {name}, whose slices are {winner.traits.step_mm:g} mm apart"
    return f"{'latest is for' if merit else 'no merit decides, SeriesInstanceUID and volume number are for'} {name}"


def _sums(series: Sequence[Sequence[Verdict]], refused: Sequence[Rejection]) -> Iterator[str]:
    found = [item for verdicts in series for item in outcome(verdicts)]
    left = Counter(item.reason for item in found if isinstance(item, Rejection) and not item.part)
    volumes = sum(isinstance(item, Plan) for item in found)
    in_volumes = "1 volume" if volumes == 1 else f"{volumes} volumes"
    yield f"{len(series)} series: {len(series) - left.total()} taken, in {in_volumes}; {left.total()} left."
    for title, reasons in (("Left", left), ("Files of no series", Counter(file.reason for file in refused))):
        if reasons:
            counts = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items(), key=_most_first))
            yield from wrap(f"{title}: {counts}.", WIDTH, subsequent_indent="  ")
    text = "Headers alone were read, and nothing was written; only ingest itself finds pixels that cannot be read."
    yield from wrap(text, WIDTH)


def _most_first(counted: tuple[str, int]) -> tuple[int, str]:
    return -counted[1], counted[0]
