"""Pre-trained weights from a file or a hub, loaded without running anything that they carry."""

from __future__ import annotations

import pickle
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pipeline.errors import WeightsError
from pipeline.files import sha256_file

#: Seconds that a hub may take to answer before the two ways out are named.
HUB_PATIENCE_S = 5.0

_OTHER_WAYS = "Set backbone.weights: file and backbone.file to a file that you have, or try again with a network."


@dataclass(frozen=True)
class Weights:
    """A state dict and where it came from.

    Attributes:
        state: tensors under the architecture's own names, float32.
        origin: what a reader calls the source: a file's name, or a hub's address.
        sha256: of the file that was read.
    """

    state: dict[str, torch.Tensor]
    origin: str
    sha256: str


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
            "Run make demo WEIGHTS=path, set backbone.file to one file, or set backbone.weights: hub.",
        )
    return found[0]


def read(path: Path, origin: str | None = None) -> Weights:
    """Read a state dict from safetensors, or from a PyTorch file that holds tensors only.

    Raises:
        WeightsError: no such file, truncated, or a pickle with more than tensors in it.
    """
    if not path.is_file():
        raise WeightsError(
            f"a weights file at {path}", "no such file", "Check backbone.file; make demo takes WEIGHTS=path."
        )
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    floats = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    return Weights(floats, origin or path.name, sha256_file(path))


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, struct.error, ValueError) as error:
        raise WeightsError(
            f"a whole safetensors file at {path}",
            f"{path.stat().st_size} bytes that cannot be read as one ({error})",
            "The file is truncated or of another format; fetch it again and compare its checksum.",
        ) from error


def _read_torch(path: Path) -> dict[str, torch.Tensor]:
    try:
        with warnings.catch_warnings():  # about the pickle's protocol: whether it can be read is decided below
            warnings.simplefilter("ignore", UserWarning)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"tensors only in {path}",
            "a pickle that holds other objects, which could run code when opened",
            "Convert it to safetensors on a machine that you trust, or ask its authors for safetensors.",
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
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


def from_hub(repository: str, filename: str = "model.safetensors") -> Weights:
    """Fetch a file from the Hugging Face hub (or the mirror in HF_ENDPOINT); HF_HUB_OFFLINE is honoured.

    Raises:
        WeightsError: the hub cannot be reached in a few seconds and the file is not in its cache.
    """
    try:
        path = hf_hub_download(repository, filename, etag_timeout=HUB_PATIENCE_S)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(
            f"{filename} of {repository} from the model hub", f"no answer ({reason})", _OTHER_WAYS
        ) from error
    return read(Path(path), f"hub:{repository}/{filename}")
