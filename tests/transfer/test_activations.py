"""Features of layers, kept once."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import ConfigError, StorageError
from pipeline.files import sha256_file, write_atomic
from pipeline.transfer import layers
from pipeline.transfer.activations import Cache, Form, activations, sweep, weights_key
from pipeline.transfer.backbone import empty_trunk
from pipeline.transfer.predict import run, to_input

GB = 10**9


@pytest.fixture
def trunk() -> nn.Module:
    torch.manual_seed(0)
    return empty_trunk("resnet10t", {}).eval()


@pytest.fixture
def slices() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (11, 32, 32)).astype(np.uint8)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "features", GB)


class Refusing(nn.Module):
    """A trunk's structure that cannot be run."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        for name, child in trunk.named_children():
            self.add_module(name, child)

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        raise AssertionError("it was run")


def kept(
    trunk: nn.Module, slices: np.ndarray, names: list[str], cache: Cache, data: str = "d", form: Form = "mean"
) -> dict[str, np.ndarray]:
    keys = (weights_key(trunk, "resnet10t", {}), data)
    found = activations(trunk, slices, names, cache, keys=keys, batch=4, forms=[form])
    return {name: values for name, (values,) in found.items()}


def test_the_last_layers_mean_is_what_a_head_is_put_on(trunk: nn.Module, slices: np.ndarray, cache: Cache) -> None:
    found = kept(trunk, slices, ["layer2.0", "layer4.0"], cache)
    np.testing.assert_allclose(found["layer4.0"], run(trunk, slices, 11, "all"), atol=1e-5)
    assert found["layer2.0"].shape == (11, 128)
    assert {values.dtype.name for values in found.values()} == {"float32"}


def test_forms_are_of_the_maps_of_the_layer(trunk: nn.Module, slices: np.ndarray, cache: Cache) -> None:
    with torch.no_grad(), layers.outputs(trunk, ["layer2.0"], torch.clone) as given:
        maps = given(to_input(slices, torch.device("cpu")))["layer2.0"].numpy()
    spatial = kept(trunk, slices, ["layer2.0"], cache, form="spatial")["layer2.0"]
    assert (spatial.shape, spatial.dtype) == ((11, 128, 4, 4), np.float16)
    np.testing.assert_allclose(spatial, maps, atol=2e-3)
    np.testing.assert_allclose(kept(trunk, slices, ["layer2.0"], cache)["layer2.0"], maps.mean((2, 3)), atol=1e-5)
    highest = kept(trunk, slices, ["layer2.0"], cache, form="max")["layer2.0"]
    np.testing.assert_allclose(highest, maps.max((2, 3)), atol=1e-5)


def test_a_layer_that_the_next_one_writes_into_is_taken_before(slices: np.ndarray, cache: Cache) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.LazyLinear(2)).eval()
    given = to_input(slices, torch.device("cpu"))
    with torch.no_grad():
        net(given)
        maps = net[0](given).numpy()
    (mean, highest, spatial) = activations(
        net, slices, ["0"], cache, keys=("w", "d"), batch=4, forms=["mean", "max", "spatial"]
    )["0"]
    np.testing.assert_allclose(mean, maps.mean((2, 3)), atol=1e-5)
    np.testing.assert_allclose(highest, maps.max((2, 3)), atol=1e-5)
    np.testing.assert_allclose(spatial, maps, atol=2e-3)
    assert (maps < 0).any(), "the case is about something"


def test_tokens_have_forms_and_a_layer_without_positions_is_its_own(slices: np.ndarray, cache: Cache) -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(1, 5, 4, 4)

        def forward(self, slices: torch.Tensor) -> torch.Tensor:
            return self.patches(slices).flatten(2).transpose(1, 2)  # (N, T, C)

    net = nn.Sequential(Tokens(), nn.Flatten(), nn.Linear(8 * 8 * 5, 4)).eval()
    found = activations(net, slices, ["0", "2"], cache, keys=("w", "d"), batch=4, forms=["max", "mean"])
    with torch.no_grad():
        tokens = net[0](to_input(slices, torch.device("cpu"))).numpy()
    np.testing.assert_allclose(found["0"][0], tokens.max(1), atol=1e-5)
    np.testing.assert_allclose(found["0"][1], tokens.mean(1), atol=1e-5)
    np.testing.assert_array_equal(*found["2"])
    assert found["2"][0].shape == (11, 4)


def test_all_forms_are_of_one_pass(trunk: nn.Module, slices: np.ndarray, cache: Cache) -> None:
    passes: list[int] = []
    trunk.register_forward_hook(lambda *_: passes.append(1))
    keys = (weights_key(trunk, "resnet10t", {}), "d")
    first = activations(trunk, slices, ["layer2.0", "layer4.0"], cache, keys=keys, batch=4, forms=["mean", "max"])
    assert len(passes) == 3
    assert {name: [part.shape[1] for part in parts] for name, parts in first.items()} == {
        "layer2.0": [128, 128],
        "layer4.0": [512, 512],
    }
    assert (first["layer4.0"][1] >= first["layer4.0"][0]).all()
    kept(trunk, slices, ["layer4.0"], cache)
    assert len(passes) == 3


def test_what_is_there_is_not_computed_again(trunk: nn.Module, slices: np.ndarray, cache: Cache) -> None:
    keys = (weights_key(trunk, "resnet10t", {}), "d")
    first = activations(trunk, slices, ["layer1.0"], cache, keys=keys, batch=4)
    again = activations(Refusing(trunk), slices, ["layer1.0"], cache, keys=keys, batch=4)
    np.testing.assert_array_equal(again["layer1.0"][0], first["layer1.0"][0])
    with pytest.raises(AssertionError, match="it was run"):  # another layer is not there
        activations(Refusing(trunk), slices, ["layer1.0", "layer2.0"], cache, keys=keys, batch=4)


def test_other_weights_or_data_have_other_files(trunk: nn.Module, slices: np.ndarray, cache: Cache) -> None:
    first = kept(trunk, slices, ["layer1.0"], cache)["layer1.0"].copy()
    other = kept(trunk, 255 - slices, ["layer1.0"], cache, data="other")["layer1.0"]
    assert not np.allclose(first, other)
    with torch.no_grad():
        next(trunk.parameters()).mul_(1.5)
    changed = kept(trunk, slices, ["layer1.0"], cache)["layer1.0"]
    assert not np.allclose(first, changed)
    assert len(list(cache.folder.iterdir())) == 3


def test_other_options_have_other_files_though_they_do_not_show(trunk: nn.Module) -> None:
    rates = [weights_key(trunk, "resnet10t", {"drop_path_rate": rate}) for rate in (0.0, 0.1, 0.0)]
    assert rates[0] != rates[1]
    assert rates[0] == rates[2]


@pytest.mark.parametrize("name", ["heads.py", "layers.py", "networks.py", "resolution.py", "stem.py"])
def test_other_code_has_other_files(
    trunk: nn.Module, slices: np.ndarray, cache: Cache, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    kept(trunk, slices, ["layer1.0"], cache)
    monkeypatch.setattr(
        "pipeline.transfer.activations.sha256_file",
        lambda path: "changed" if path.name == name else sha256_file(path),
    )
    kept(trunk, slices, ["layer1.0"], cache)
    assert len(list(cache.folder.iterdir())) == 2


def test_a_file_that_was_cut_off_is_made_anew(trunk: nn.Module, slices: np.ndarray, cache: Cache) -> None:
    first = kept(trunk, slices, ["layer1.0"], cache)["layer1.0"].copy()
    (path,) = cache.folder.iterdir()
    with open(path, "r+b") as handle:
        handle.truncate(200)
    np.testing.assert_array_equal(kept(trunk, slices, ["layer1.0"], cache)["layer1.0"], first)


KILLED = """
import os, signal, sys
import numpy as np, torch
from pathlib import Path
from pipeline.transfer import predict
from pipeline.transfer.activations import Cache, activations
from pipeline.transfer.backbone import empty_trunk

torch.manual_seed(0)
trunk, calls = empty_trunk("resnet10t", {}), []
trunk.register_forward_hook(lambda *_: calls.append(1) or (len(calls) == 3 and os.kill(os.getpid(), signal.SIGKILL)))
slices = np.zeros((16, 32, 32), np.uint8)
activations(trunk, slices, ["layer1.0", "layer2.0"], Cache(Path(sys.argv[1]), 10**9), keys=("w", "d"), batch=4)
"""


def test_a_kill_leaves_nothing_that_is_used(trunk: nn.Module, cache: Cache) -> None:
    process = subprocess.run([sys.executable, "-c", KILLED, str(cache.folder)], capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()[-500:]
    assert list(cache.folder.iterdir())  # a part of it lies there
    assert not list(cache.folder.glob("*.npy"))
    slices = np.zeros((16, 32, 32), np.uint8)
    found = activations(trunk, slices, ["layer1.0"], cache, keys=("w", "d"), batch=4)
    assert found["layer1.0"][0].shape == (16, 64)
    parts = list(cache.folder.glob(".*.part"))
    for path in parts:
        os.utime(path, (0, 0))
    activations(trunk, slices, ["layer2.0"], cache, keys=("w", "d"), batch=4)
    assert parts
    assert not list(cache.folder.glob(".*.part"))


def test_a_full_disk_is_a_clear_error(
    trunk: nn.Module, slices: np.ndarray, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="room on the disk"):
        kept(trunk, slices, ["layer1.0", "layer2.0"], cache)
    assert list(cache.folder.iterdir()) == []


def test_the_folder_has_a_bound(trunk: nn.Module, slices: np.ndarray, tmp_path: Path) -> None:
    small = Cache(tmp_path, 11 * 64 * 4)
    with pytest.raises(StorageError, match=r"features\.cache_gigabytes"):
        kept(trunk, slices, ["layer1.0", "layer2.0"], small)
    bound = Cache(tmp_path, 3 * 11 * 64 * 4 + 1000)  # three files of this layer
    for number, data in enumerate("abc"):
        kept(trunk, slices, ["layer1.0"], bound, data)
        for path in tmp_path.iterdir():
            if path.stat().st_mtime > 1e9:
                os.utime(path, (number, number))
    kept(trunk, slices, ["layer1.0"], bound, "a")  # used again, so that b is the oldest
    names = {path.name for path in tmp_path.iterdir()}
    kept(trunk, slices, ["layer1.0"], bound, "d")
    left = {path.name for path in tmp_path.iterdir()}
    assert len(names - left) == 1
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= bound.most_bytes
    activations(
        Refusing(trunk), slices, ["layer1.0"], bound, keys=(weights_key(trunk, "resnet10t", {}), "a"), batch=4
    )  # still there


def test_a_pass_deletes_what_it_uses_itself_rather_than_go_beyond_the_bound(
    trunk: nn.Module, slices: np.ndarray, tmp_path: Path
) -> None:
    bound = Cache(tmp_path, 11 * 128 * 4 + 200)  # the file of the larger layer
    first = kept(trunk, slices, ["layer1.0"], bound)["layer1.0"].copy()
    found = kept(trunk, slices, ["layer1.0", "layer2.0"], bound)
    assert list(found) == ["layer1.0", "layer2.0"]
    np.testing.assert_array_equal(found["layer1.0"], first)
    assert found["layer2.0"].shape == (11, 128)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= bound.most_bytes


def test_what_another_process_deletes_at_once_is_whole(
    trunk: nn.Module, slices: np.ndarray, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {name: values.copy() for name, values in kept(trunk, slices, ["layer1.0", "layer2.0"], cache).items()}

    def deleted(path: Path, write: Any) -> None:
        write_atomic(path, write)
        path.unlink()

    monkeypatch.setattr("pipeline.transfer.activations.write_atomic", deleted)
    found = kept(trunk, slices, ["layer1.0", "layer2.0"], Cache(cache.folder / "other", GB))
    for name, values in found.items():
        np.testing.assert_array_equal(values, wanted[name])
    assert list((cache.folder / "other").iterdir()) == []


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv2_100", "torchvision/squeezenet1_1", "vit_tiny_patch16_224"])
def test_the_sweep_is_even_and_ends_at_the_top(name: str) -> None:
    trunk = empty_trunk(name, {})
    names = [block.name for block in layers.blocks(trunk)]
    found = sweep(trunk, None)
    assert 4 <= len(found) <= 6
    assert found == sorted(found, key=names.index)
    assert found[-1] == names[-1]
    gaps = np.diff([names.index(layer) for layer in found])
    assert gaps.max() - gaps.min() <= 1


def test_a_stage_stands_for_its_last_block(trunk: nn.Module) -> None:
    assert sweep(empty_trunk("resnet18", {}), ["layer2"]) == ["layer2.1", "layer4.1"]
    assert sweep(trunk, ["layer1.0"]) == ["layer1.0", "layer4.0"]


def test_a_layer_that_does_not_exist_is_refused_by_name(trunk: nn.Module) -> None:
    with pytest.raises(ConfigError, match=r"layer2\.0"):
        sweep(trunk, ["layer2.7"])
