"""What a training left about its course: the history of its epochs and the validation logits after each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.clinical.resampling import Floats
from pipeline.errors import ContractError
from pipeline.training_config import START


@dataclass(frozen=True)
class Curve:
    """One training, row by row; row 0 is before any step, row e after epoch e.

    Attributes:
        phases: (E,) the phase of each row.
        work: float64 (E,) by currency, all cumulative: `epochs`, `slices` (training slices that went through the part
            that learns) and `passes` (of a slice forward through the whole trunk; a pass back counts as two).
        chosen: rows of the epochs that were, in their turn, the one to keep.
        scores: (E, U, K), what the U validation units are ranked by, of each of K outputs: logits, or made of them.
        frozen: names of the phases in which no part of the trunk learnt.
        allowed: epochs, at most, in which the trunk was to learn.
    """

    phases: tuple[str, ...]
    work: Mapping[str, Floats]
    chosen: tuple[int, ...]
    scores: npt.NDArray[np.floating]
    frozen: frozenset[str]
    allowed: int

    @property
    def frozen_rows(self) -> list[int]:
        """Rows after epochs in which the head alone learnt, before the trunk ever did."""
        rows = []
        for row, phase in enumerate(self.phases[1:], start=1):
            if phase not in self.frozen:
                break
            rows.append(row)
        return rows

    @property
    def kept(self) -> int:
        """The row of the epoch that the training kept."""
        return self.chosen[-1]

    @property
    def budget(self) -> dict[str, Any]:
        """What the whole training took: epochs (of the trunk: and how many it was allowed), slices and passes."""
        trunk = sum(phase not in self.frozen for phase in self.phases[1:])
        spent = {name: round(float(values[-1])) for name, values in self.work.items()}
        return {**spent, "trunk_epochs": trunk, "allowed_trunk_epochs": self.allowed}


def curve(
    name: str,
    history: Sequence[Mapping[str, str]],
    logits: npt.NDArray[np.float32],
    shape: tuple[int, ...],
    frozen: Collection[str],
    allowed: int,
) -> Curve:
    """A training as its folder tells it.

    Args:
        name: the folder's, for errors.
        history: rows of history.csv.
        logits: of curve.npz.
        shape: U validation units and K outputs that are there now.

    Raises:
        ContractError: the two files are not of one training, or of other validation units or classes.
    """
    expected = (len(history), *shape)
    if logits.shape != expected or len(history) < 2 or history[0]["phase"] != START:
        first = history[0]["phase"] if history else "no row"
        raise ContractError(
            f"models/{name}/curve.npz with logits of {expected[0]} rows of history.csv (the first: {START}), "
            f"{expected[1]} validation units and {expected[2]} outputs",
            f"{' x '.join(map(str, logits.shape))}, the first row: {first}",
            "Run `dvc repro validate`, which trains anew what is of other units.",
        )
    work = {key: np.array([float(row[key]) for row in history]) for key in ("slices", "passes")}
    return Curve(
        phases=tuple(row["phase"] for row in history),
        work={"epochs": np.arange(len(history), dtype=np.float64), **work},
        chosen=tuple(place for place, row in enumerate(history) if row["kept"] == "1"),
        scores=logits,
        frozen=frozenset(frozen),
        allowed=allowed,
    )


def control_had_less(finetuned: Curve, control: Curve) -> bool:
    """Whether the control was allowed fewer epochs of the trunk, or did less work in those that it had.

    What went through the fine-tuned network's trunk while its head alone learnt taught the trunk nothing.
    """
    passes = finetuned.work["passes"]
    learnt = passes[-1] - passes[max(finetuned.frozen_rows, default=0)]
    return control.allowed < finetuned.allowed or bool(control.work["passes"][-1] < learnt)
