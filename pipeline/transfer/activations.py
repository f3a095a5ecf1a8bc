"""What the layers of a frozen network give for every slice, computed once and kept in the cache directory (T5).

A file is named after everything that decides its content: weights, slices, layer, form, the code and the libraries. It
is written batch by batch (data may be larger than memory) and moved into place when it is whole, so that one that is
there can be used. All projects and processes of a user share the folder, and any of them may delete what another one
uses: so nobody is given a name, but an open file, whose content stays until it is closed.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
import timm
import torch
import torchvision
from torch import nn

from pipeline.errors import StorageError
from pipeline.files import sha256_file, write_atomic
from pipeline.progress import track
from pipeline.transfer import backbone, heads, layers, networks, predict, resolution, stem
from pipeline.transfer.predict import device, to_input

Values = npt.NDArray[np.floating]
#: Of a layer's maps or tokens the mean or the maximum over their positions, or all of them.
Form = Literal["mean", "max", "spatial"]

#: Seconds after which a file that nobody finished is taken for the leftover of a kill.
_STALE_S = 24 * 3600.0

#: The source files that decide the values.
_MODULES = (backbone, heads, layers, networks, predict, resolution, stem)
_CODE = (Path(__file__), *(Path(module.__file__ or "") for module in _MODULES))


@dataclass(frozen=True)
class Cache:
    """A folder of activations.

    Attributes:
        folder: below the cache directory.
        most_bytes: that it may hold; those not used for the longest time go first. What is deleted while it is open
            takes room on the disk until whoever has it open lets go of it.
    """

    folder: Path
    most_bytes: int

    def make_room(self, needed: int) -> None:
        """Delete what was not used for the longest time until `needed` bytes more are within the bound.

        Raises:
            StorageError: more than may ever be there.
        """
        if needed > self.most_bytes:
            raise StorageError(
                f"at most {self.most_bytes / 1e9:.3g} GB of activations in {self.folder}",
                f"{needed / 1e9:.3g} GB in one pass",
                "Raise features.cache_gigabytes, or name fewer features.layers or one features.pooling.",
            )
        for path, status in self._files(".*.part").items():
            if time.time() - status.st_mtime > _STALE_S:
                path.unlink(missing_ok=True)
        files = self._files("*.npy")
        total = needed + sum(status.st_size for status in files.values())
        for path in sorted(files, key=lambda path: (files[path].st_mtime, path.name)):
            if total <= self.most_bytes:
                break
            path.unlink(missing_ok=True)
            total -= files[path].st_size

    def _files(self, pattern: str) -> dict[Path, os.stat_result]:
        """What there is; another process may take one away meanwhile."""
        found = {}
        for path in self.folder.glob(pattern):
            with suppress(FileNotFoundError):
                found[path] = path.stat()
        return found


def sweep(trunk: nn.Module, asked: Sequence[str] | None, count: int = 6) -> list[str]:
    """Names of blocks whose outputs are compared, from the stem up; the last is the trunk's last block.

    Args:
        trunk: the network.
        asked: blocks, or stages, each of which stands for its last block; None: about `count`, evenly spaced.

    Raises:
        ConfigError: no block has this name.
    """
    names = [block.name for block in layers.blocks(trunk)]
    if asked is None:
        ends = {-(-len(names) * (step + 1) // count) - 1 for step in range(count)}
        return [names[end] for end in sorted(ends)]
    for name in asked:
        layers.place(trunk, name)
    ends = {max(row for row, name in enumerate(names) if f"{name}.".startswith(f"{part}.")) for part in asked}
    return [names[end] for end in sorted(ends | {len(names) - 1})]


def weights_key(trunk: nn.Module, name: str, options: Mapping[str, Any]) -> str:
    """SHA-256 of a network's architecture and tensors; not all `options` of its constructor show in its structure."""
    digest = hashlib.sha256(f"{name}\n{json.dumps(options, sort_keys=True)}\n{trunk}".encode())
    for path, tensor in trunk.state_dict().items():
        digest.update(f"{path} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def activations(
    trunk: nn.Module,
    slices: npt.NDArray[np.uint8],
    names: Sequence[str],
    cache: Cache,
    *,
    keys: tuple[str, str],
    batch: int,
    forms: Sequence[Form] = ("mean",),
) -> dict[str, list[Values]]:
    """Each layer's outputs for all slices; those that the cache does not have are computed in one pass.

    Args:
        trunk: one-channel network.
        slices: uint8 (N, H, W).
        names: blocks; the mean of the last block is what the trunk itself gives, as a head is put on that.
        cache: where they are kept.
        keys: what identifies the weights, and the slices.
        batch: slices at once.
        forms: mean and max are float32 (N, C), spatial is float16, maps (N, C, h, w) or tokens (N, T, C).

    Returns:
        Of each name a memory-mapped file a form, to be read only; it stays whole when the cache deletes it.

    Raises:
        StorageError: the disk is full, or they are more than the cache may hold.
    """
    cache.folder.mkdir(parents=True, exist_ok=True)
    key = _key(*keys)
    paths = {(name, form): cache.folder / f"{key}-{name}-{form}.npy" for name in names for form in forms}
    there = {wanted: values for wanted in paths if (values := _opened(paths[wanted], len(slices))) is not None}
    missing = [wanted for wanted in paths if wanted not in there]
    if missing:
        rows = _rows(trunk, slices, missing, batch)
        written = _write([paths[wanted] for wanted in missing], rows, len(slices), cache)
        there |= dict(zip(missing, written, strict=True))
    return {name: [there[name, form] for form in forms] for name in names}


def _key(weights: str, data: str) -> str:
    """What decides the values besides layer and form, as 24 hexadecimal digits."""
    decided = {
        "weights": weights,
        "data": data,
        "code": [sha256_file(path) for path in _CODE],
        "libraries": [torch.__version__, torchvision.__version__, timm.__version__, np.__version__],
        "device": device().type,
    }
    return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()[:24]


def _opened(path: Path, rows: int) -> Values | None:
    """What the cache has, and has now been used; None where it has none, or a damaged file system cut it off."""
    try:
        os.utime(path)  # first, so that it is not the next to go
        values: Values = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        return None
    except (ValueError, EOFError):
        path.unlink(missing_ok=True)
        return None
    return values if len(values) == rows else None


@torch.no_grad()
def _rows(
    trunk: nn.Module, slices: npt.NDArray[np.uint8], wanted: Sequence[tuple[str, Form]], batch: int
) -> Iterator[list[Values]]:
    """What is wanted of the layers, batch by batch."""
    on, last = device(), layers.blocks(trunk)[-1].name
    trunk = trunk.to(on, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    # The last block may stand before a norm and a pool of the network's own.
    taps = [(layers.TRUNK if (name, form) == (last, "mean") else name, form) for name, form in wanted]
    forms = list(dict.fromkeys(form for _, form in taps))
    tapped = list(dict.fromkeys(tap for tap, _ in taps))
    with layers.outputs(trunk, tapped, lambda values: {form: _formed(values, form) for form in forms}) as run:
        for start in track(range(0, len(slices), batch), "features"):
            given = run(to_input(slices[start : start + batch], on))
            yield [given[tap][form].contiguous().cpu().numpy() for tap, form in taps]


def _formed(values: torch.Tensor, form: Form) -> torch.Tensor:
    """Maps or tokens over their positions, in memory of their own; what has none is its own mean and maximum."""
    if form == "spatial" or values.ndim == 2:
        return values.to(torch.float16 if form == "spatial" else torch.float32, copy=True)
    positions = (2, 3) if values.ndim == 4 else (1,)
    return (values.mean(positions) if form == "mean" else values.amax(positions)).float()


def _write(paths: Sequence[Path], rows: Iterator[list[Values]], count: int, cache: Cache) -> list[Values]:
    """Write one file a tap from batches of rows, all of them whole or none, and open them."""
    first = next(rows)
    cache.make_room(sum(part[0].nbytes for part in first) * count)
    opened: list[Values] = []

    def fill(handles: list[BinaryIO]) -> None:
        for handle, part in zip(handles, first, strict=True):
            header = {"descr": part.dtype.str, "fortran_order": False, "shape": (count, *part.shape[1:])}
            np.lib.format.write_array_header_1_0(handle, header)
            handle.write(part.data)
        for parts in rows:
            for handle, part in zip(handles, parts, strict=True):
                handle.write(np.ascontiguousarray(part).data)
        for handle in handles:  # before they have their names, by which another process may delete them
            handle.flush()
            opened.append(np.load(handle.name, mmap_mode="r"))

    _nested(paths, fill, [])
    return opened


def _nested(paths: Sequence[Path], fill: Callable[[list[BinaryIO]], None], handles: list[BinaryIO]) -> None:
    """`write_atomic` of several files at once."""
    if not paths:
        fill(handles)
    else:
        write_atomic(paths[0], lambda handle: _nested(paths[1:], fill, [*handles, handle]))
