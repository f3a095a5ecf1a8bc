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
from typing import Any, BinaryIO

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
                "Raise features.cache_gigabytes, or name fewer features.layers.",
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
    spatial: bool = False,
) -> dict[str, Values]:
    """Each layer's outputs for all slices; those that the cache does not have are computed in one pass.

    Args:
        trunk: one-channel network.
        slices: uint8 (N, H, W).
        names: blocks; the last block stands for what the trunk itself gives when pooled.
        cache: where they are kept.
        keys: what identifies the weights, and the slices.
        batch: slices at once.
        spatial: maps (N, C, h, w) or tokens (N, T, C) as float16 in place of means (N, C) as float32.

    Returns:
        A memory-mapped file a name, to be read only; it stays whole when the cache deletes it.

    Raises:
        StorageError: the disk is full, or they are more than the cache may hold.
    """
    cache.folder.mkdir(parents=True, exist_ok=True)
    form = "spatial" if spatial else "pooled"
    paths = {name: cache.folder / f"{_key(*keys)}-{name}-{form}.npy" for name in names}
    there = {name: values for name in names if (values := _opened(paths[name], len(slices))) is not None}
    missing = [name for name in names if name not in there]
    if missing:
        last = layers.blocks(trunk)[-1].name
        # Pooled, what the trunk gives is what a head is put on; its last block may stand before a norm and a pool.
        taps = [layers.TRUNK if name == last and not spatial else name for name in missing]
        rows = _rows(trunk, slices, taps, batch, spatial)
        written = _write([paths[name] for name in missing], rows, len(slices), cache)
        there |= dict(zip(missing, written, strict=True))
    return {name: there[name] for name in names}


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
    trunk: nn.Module, slices: npt.NDArray[np.uint8], taps: Sequence[str], batch: int, spatial: bool
) -> Iterator[list[Values]]:
    """The outputs of all taps, batch by batch."""
    on = device()
    trunk = trunk.to(on, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    as_type = torch.float16 if spatial else torch.float32
    with layers.outputs(trunk, taps, spatial=spatial) as run:
        for start in track(range(0, len(slices), batch), "features"):
            given = run(to_input(slices[start : start + batch], on))
            yield [given[tap].to(as_type).contiguous().cpu().numpy() for tap in taps]


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
