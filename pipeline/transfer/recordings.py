"""What the frozen part of a trunk gives, computed once and kept: only the part that learns runs in a step.

A frozen block gives the same for the same slices (`model.TransferModel` keeps its BatchNorm still), so a phase that
trains the top of a trunk needs the bottom only once for every differently augmented draw. Each draw is a file in the
cache directory, mapped, not read: it may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pipeline.errors import TrainingError
from pipeline.files import write_atomic
from pipeline.progress import track
from pipeline.training_config import Recordings
from pipeline.transfer.batches import AT_ONCE, Bags, Batch, Loader

#: The stored type: ten bits of mantissa, more than the bf16 in which the network computes.
_STORED = np.float16


def affordable(shape: tuple[int, ...], slices: int, once: int, wanted: int, settings: Recordings) -> int:
    """How many draws fit.

    Args:
        shape: of one slice's activation.
        slices: of one draw of the training units.
        once: slices that are recorded once, of validation.
        wanted: draws that the phase can use.
        settings: the limits.
    """
    each = int(np.prod(shape)) * np.dtype(_STORED).itemsize
    room = int(settings.gigabytes * 1e9) - once * each
    return int(max(0, min(wanted, settings.copies, room // max(1, slices * each))))


class Recording:
    """Draws of one side's units at the boundary of what learns.

    Args:
        folder: in the cache directory; the draws' files, `0.npy` onwards, go there.
        prefix: the frozen part, slices to activations.
        loader: of slices, in order; with `epoch` it decides the draw.
        change: what is done to a batch of slices before, given the draw and the batch's number: augmentation.
        title: for the progress bar.
        dtype: in which the prefix computes, as it would in a step.
    """

    def __init__(
        self,
        folder: Path,
        prefix: nn.Module,
        loader: Loader,
        change: Callable[[Batch, int, int], Batch],
        title: str,
        dtype: torch.dtype,
    ) -> None:
        self.folder, self.prefix, self.loader, self.change, self.title = folder, prefix, loader, change, title
        self.dtype = dtype
        most = loader.slices_per_unit or max(map(len, loader.bags.rows))
        counts = [min(len(own), most) for own in loader.bags.rows]
        ends = np.cumsum(counts)
        self._rows = [np.arange(end - count, end) for end, count in zip(ends, counts, strict=True)]

    def draw(self, number: int) -> Bags:
        """The units at the boundary, of draw `number`; recorded when it is asked for the first time.

        Raises:
            TrainingError: an activation is too large to be stored.
        """
        path = self.folder / f"{number}.npy"
        if not path.exists():
            write_atomic(path, partial(self._write, number=number))
        return Bags(np.load(path, mmap_mode="r"), self._rows, self.loader.bags.targets)

    @torch.no_grad()
    def _write(self, handle: BinaryIO, number: int) -> None:
        """An .npy file, batch after batch."""
        self.prefix.eval()
        self.loader.epoch = number
        total = int(self._rows[-1][-1]) + 1
        for place, batch in enumerate(
            track(self.loader, f"{self.title} {number + 1}" if self.loader.seed else self.title, total=len(self.loader))
        ):
            for values in torch.split(self.change(batch, number, place).values, AT_ONCE):
                with torch.autocast(values.device.type, self.dtype, enabled=self.dtype != torch.float32):
                    stored = _stored(self.prefix(values))
                if handle.tell() == 0:
                    header = {
                        "descr": np.lib.format.dtype_to_descr(stored.dtype),
                        "fortran_order": False,
                        "shape": (total, *stored.shape[1:]),
                    }
                    np.lib.format.write_array_header_1_0(handle, header)
                handle.write(stored.tobytes())


def _stored(found: torch.Tensor) -> npt.NDArray[np.float16]:
    with np.errstate(over="ignore"):
        stored = found.float().cpu().numpy().astype(_STORED)
    if not np.isfinite(stored).all():
        raise TrainingError(
            f"frozen layers whose outputs are at most {np.finfo(_STORED).max:g}, to be recorded",
            f"{float(found.abs().max()):g}",
            "Set finetune.recordings.copies: 0, or prepare.size as the backbone was trained with.",
        )
    return stored
