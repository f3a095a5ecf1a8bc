"""Files of pre-trained weights: checked for what they promise to be, and loaded without running what they carry."""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pipeline.errors import WeightsError
from pipeline.files import sha256_file

NOT_VERIFIED = "not verified"


@dataclass(frozen=True)
class Weights:
    """A state dict and where it came from.

    Attributes:
        state: tensors under the architecture's own names, float32.
        path: the file that was read.
        origin: what a reader calls the source: a file's name, or a hub's address.
        sha256: of that file.
        verified: whose checksum it has, in words, or `NOT_VERIFIED`.
        resampled: tensors that were resampled after that, for another side of pictures.
    """

    state: dict[str, torch.Tensor]
    path: Path
    origin: str
    sha256: str
    verified: str
    resampled: tuple[str, ...] = ()


def only_file(path: Path) -> Path:
    """`path` itself, or the one weights file in the folder `path`.

    Raises:
        WeightsError: the folder holds none, or several.
    """
    if not path.is_dir():
        return path
    found = sorted(entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith("."))
    if len(found) != 1:
        raise WeightsError(
            f"one weights file in {path}",
            ", ".join(entry.name for entry in found) or "none",
            "Set backbone.file to one file, or backbone.weights to embedded or hub.",
        )
    return found[0]


def read(path: Path, origin: str, promised: Mapping[str, str], most_bytes: int) -> Weights:
    """Read a state dict from safetensors, or from a PyTorch file that holds tensors only.

    Args:
        path: the file.
        origin: what readers shall call its source.
        promised: SHA-256 that it must have, by who says so.
        most_bytes: more than the network can take, packed or unpacked, is not opened.

    Raises:
        WeightsError: no such file, not the promised one, truncated, too large, or a pickle with more than tensors.
    """
    if not path.is_file():
        raise WeightsError(
            f"a weights file at {path}",
            "no such file",
            "Check backbone.file, or set backbone.weights to embedded or hub.",
        )
    _require_size(path, path.stat().st_size, most_bytes)
    found = sha256_file(path)
    for who, sha256 in promised.items():
        if found != sha256:
            raise WeightsError(
                f"a file with the SHA-256 {sha256} as stated by {who}",
                f"{found} at {path}",
                "It is damaged or another file: remove it and fetch it again, or state the checksum that you trust.",
            )
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path, most_bytes)
    # A tensor may claim more elements than its file holds, all of them one and the same in memory.
    _require_size(path, sum(value.numel() * value.element_size() for value in state.values()), most_bytes)
    floats = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    verified = f"SHA-256 as stated by {' and '.join(promised)}" if promised else NOT_VERIFIED
    return Weights(floats, path, origin, found, verified)


def _require_size(path: Path, found: int, most_bytes: int) -> None:
    if found > most_bytes:
        raise WeightsError(
            f"at most {most_bytes} bytes of tensors for this network in {path}",
            f"{found}",
            "The file belongs to another architecture, or is made to fill the memory; set backbone.name to its own.",
        )


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, struct.error, ValueError) as error:
        raise WeightsError(
            f"a whole safetensors file at {path}",
            f"{path.stat().st_size} bytes that cannot be read as one ({error})",
            "The file is truncated or of another format; fetch it again and compare its checksum.",
        ) from error


def _read_torch(path: Path, most_bytes: int) -> dict[str, torch.Tensor]:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _require_size(path, sum(entry.file_size for entry in archive.infolist()), most_bytes)
        with warnings.catch_warnings():  # about the pickle's protocol: whether it can be read is decided below
            warnings.simplefilter("ignore", UserWarning)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"tensors only in {path}",
            "a pickle that holds other objects, which could run code when opened",
            "Convert it to safetensors on a machine that you trust, or ask its authors for safetensors.",
        ) from error
    except (RuntimeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise WeightsError(
            f"a whole PyTorch file at {path}",
            f"{path.stat().st_size} bytes that cannot be read ({error})",
            "Fetch it again.",
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(
            f"a state dict in {path}", f"a {type(state).__name__} of other things", "Save model.state_dict()."
        )
    return state


def fit(network: nn.Module, weights: Weights, name: str) -> None:
    """Load `weights` into `network`, every tensor of it.

    Raises:
        WeightsError: a tensor is missing, left over or of another shape; the network is then unchanged.
    """
    own = network.state_dict()
    needed = {key for key in own if not key.endswith("num_batches_tracked")}
    missing, extra = sorted(needed - weights.state.keys()), sorted(weights.state.keys() - own.keys())
    shapes = [key for key in sorted(needed & weights.state.keys()) if own[key].shape != weights.state[key].shape]
    if missing or extra or shapes:
        example = (missing or extra or shapes)[0]
        raise WeightsError(
            f"the {len(needed)} tensors of {name} in {weights.origin}",
            f"{len(missing)} missing, {len(extra)} unknown, {len(shapes)} of another shape (for example {example})",
            "The file belongs to another architecture: set backbone.name and backbone.options to what it was made for.",
        )
    network.load_state_dict(weights.state, strict=False)
