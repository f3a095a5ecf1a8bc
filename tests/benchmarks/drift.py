"""Delay to an alarm, and false alarms: `python -m tests.benchmarks.drift RELEASE [--streams 100] [--pool FILE]`.

A pool of patients is simulated as the demo's are, with a seed of its own, and observed through the release's graph;
`--pool` keeps it. References (84 studies, as the demo's) and streams are drawn from the pool with replacement, so that
without a shift they are exchangeable. Each stream has its own reference. A second table has numbers and categories
by themselves, whose shifts are known in standard deviations and shares.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline import config
from pipeline.demo import cohort, simulate
from pipeline.dicom.vendor import vendor
from pipeline.files import write_text
from pipeline.imaging.volume import Volume
from pipeline.inference.release import open_release
from pipeline.monitoring import drift, evidence, reference
from pipeline.monitoring.observation import Model, observe
from pipeline.monitoring.quantities import MONITORS
from pipeline.monitoring.schema import Observed
from pipeline.progress import track
from pipeline.strict import Strict

SEED, PATIENTS = 77, 400
TRAINING, RANKED = 84, 84
WITHIN, LONG = 200, 2000
#: Of a stream's first study on, and after so many quiet ones.
AFTER = (0, 200)
SHA256 = "ab" * 32


class Seen(Strict):
    """A simulated study.

    Attributes:
        study: as the release sees it.
        brighter, flatter: the same with all values half as large again, and with its contrast compressed.
        ill: whether there is a lesion.
    """

    study: Observed
    brighter: Observed
    flatter: Observed
    ill: bool


def pool(release: Path, root: Path) -> list[Seen]:
    """Studies of simulated patients, through the graph of a release."""
    opened = open_release(release)
    model = Model.of(opened)
    params = config.load(root / "params.yaml")
    patients = cohort.cohort(params.demo.model_copy(update={"patients": PATIENTS}), SEED)
    found = []
    for patient in track(patients, "pool", len(patients)):
        alone = replace(patient, contrasts=("FLAIR",))
        (made,) = simulate.images(alone, np.random.default_rng([SEED, 2, patient.number]))
        values = made.stored.astype(np.float32) * np.float32(patient.scanner.rescale_slope)
        name, field = vendor(patient.scanner.manufacturer), patient.scanner.field_strength_t
        variants = (values, values * np.float32(1.5), values ** np.float32(0.8))
        one, two, three = (observe(model, name, field, [Volume(each, made.grid.affine_lps)]) for each in variants)
        found.append(Seen(study=one, brighter=two, flatter=three, ill=patient.finding is not None))
    return found


def shifted(name: str, seen: Sequence[Seen]) -> list[Observed]:
    """The part of the pool that a shift draws from."""
    studies = [one.study for one in seen]
    ill, well = ([one.study for one in seen if one.ill == there] for there in (True, False))
    return {
        "none": studies,
        "vendor: Philips alone": [study for study in studies if study.manufacturer == "Philips"],
        "vendor: a new one": [study.model_copy(update={"manufacturer": "Canon"}) for study in studies],
        "field strength: 3 T alone": [study for study in studies if study.field_strength_t == 3],
        "field strength: a new one": [study.model_copy(update={"field_strength_t": 7.0}) for study in studies],
        "intensity: half as bright again": [one.brighter for one in seen],
        "intensity: to the power of 0.8": [one.flatter for one in seen],
        "prevalence: 0.5 to 0.1": ill[: len(well) // 9] + well,
        "prevalence: 0.5 to 0.2": ill[: len(well) // 4] + well,
        "prevalence: 0.5 to 0.9": well[: len(ill) // 9] + ill,
    }[name]


SHIFTS = (
    *("vendor: Philips alone", "vendor: a new one", "field strength: 3 T alone", "field strength: a new one"),
    *("intensity: half as bright again", "intensity: to the power of 0.8"),
    *("prevalence: 0.5 to 0.1", "prevalence: 0.5 to 0.2", "prevalence: 0.5 to 0.9"),
)


#: By how much a number rises, or a share before and after; and the limit of a quantity among four of a monitor.
CHANGES = ((0.5, None), (0.75, None), (1.0, None), (0.5, 0.3), (0.5, 0.2), (0.5, 0.1))
LIMIT = 100_000.0


def alarms(seen: Sequence[Seen], name: str, quiet: int, count: int, seed: int) -> dict[str, list[int]]:
    """The studies of the alarms of each monitor, counted from the shift on; those before it are left out."""
    rng = np.random.default_rng(seed)
    usual, changed = shifted("none", seen), shifted(name, seen)

    def draw(some: Sequence[Observed], wanted: int) -> list[Observed]:
        return [some[place] for place in rng.integers(0, len(some), wanted)]

    made = reference.make("cd" * 32, "", draw(usual, TRAINING), draw(usual, RANKED))
    stream = draw(usual, quiet) + draw(changed, count)
    found: dict[str, list[int]] = {monitor: [] for monitor in MONITORS}
    for one in drift.watch(made, stream, ["lesion"], SHA256):
        found[one.quantity.monitor] += [crossing.study - quiet for crossing in one.course.crossings]
    return {monitor: sorted(study for study in studies if study > 0) for monitor, studies in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.drift")
    parser.add_argument("release", type=Path)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--pool", type=Path)
    asked = parser.parse_args()
    root = Path(__file__).resolve().parents[2]
    if asked.pool and asked.pool.is_file():
        seen = [Seen.model_validate_json(line) for line in asked.pool.read_text().splitlines()]
    else:
        seen = pool(asked.release, root)
        if asked.pool:
            write_text(asked.pool, "".join(one.model_dump_json() + "\n" for one in seen))
    print(f"| shift | quiet studies before | median delay | worst | within {WITHIN} | monitors (share of streams) |")
    print("|---|---|---|---|---|---|")
    for name in SHIFTS:
        for quiet in AFTER:
            print(_row(seen, name, quiet, asked.streams), flush=True)
    print(f"\n| change | quiet studies before | median delay | within {WITHIN} |\n|---|---|---|---|")
    for change in CHANGES:
        for quiet in AFTER:
            print(_by_itself(change, quiet, asked.streams), flush=True)
    counts = [sum(map(len, alarms(seen, "none", 0, LONG, seed).values())) for seed in range(asked.streams)]
    more = sum(count > 1 for count in counts)
    print(
        f"\nfalse alarms in {LONG} studies, over {asked.streams} streams: mean {np.mean(counts):.2f}, "
        f"{counts.count(0)} streams with none, {more} with more than one, most {max(counts)}"
    )


def _by_itself(change: tuple[float, float | None], quiet: int, streams: int) -> str:
    """One number that rises by standard deviations, or a category whose share becomes another."""
    before, after = change
    delays = []
    for seed in range(streams):
        rng = np.random.default_rng(seed)
        if after is None:
            drawn = rng.normal(size=RANKED + quiet + WITHIN)
            drawn[RANKED + quiet :] += before
        else:
            shares = np.where(np.arange(RANKED + quiet + WITHIN) < RANKED + quiet, before, after)
            drawn = (rng.random(len(shares)) < shares).astype(float)
        ranks = evidence.p_values(drawn[:RANKED].tolist(), drawn[RANKED:].tolist(), rng)
        factors = evidence.bets_on_number(ranks) if after is None else evidence.bets_on_category(ranks, before)
        found = [crossing.study - quiet for crossing in evidence.course(factors, LIMIT).crossings]
        delays.append(next((study for study in found if study > 0), WITHIN + 1))
    words = f"{before} standard deviations" if after is None else f"share of {before} to {after}"
    median, share = int(np.median(delays)), np.mean([delay <= WITHIN for delay in delays])
    return f"| {words} | {quiet} | {median if median <= WITHIN else f'over {WITHIN}'} | {100 * share:.0f} % |"


def _row(seen: Sequence[Seen], name: str, quiet: int, streams: int) -> str:
    delays, raised = [], dict.fromkeys(MONITORS, 0)
    for seed in range(streams):
        found = alarms(seen, name, quiet, WITHIN, seed)
        for monitor, studies in found.items():
            raised[monitor] += bool(studies)
        delays.append(min((studies[0] for studies in found.values() if studies), default=WITHIN + 1))
    words = [f"{value}" if value <= WITHIN else f"over {WITHIN}" for value in (int(np.median(delays)), max(delays))]
    share = np.mean([delay <= WITHIN for delay in delays])
    by = ", ".join(f"{monitor} {100 * count / streams:.0f} %" for monitor, count in raised.items() if count)
    return f"| {name} | {quiet} | {words[0]} | {words[1]} | {100 * share:.0f} % | {by} |"


if __name__ == "__main__":
    main()
