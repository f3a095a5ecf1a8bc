"""Weights that are not what they say."""

from __future__ import annotations

import pickle
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.config import Backbone
from pipeline.errors import ConfigError, WeightsError
from pipeline.transfer import weights
from pipeline.transfer.backbone import create, load


def chosen(file: Path, name: str = "resnet10t") -> Backbone:
    return Backbone(name=name, weights="file", file=file)


def test_a_whole_file_is_loaded(weights_file: Path) -> None:
    network, found, stated = load(chosen(weights_file))
    for key, value in load_file(weights_file).items():
        assert torch.equal(network.state_dict()[key], value)
    assert len(found.sha256) == 64
    assert stated.licence.startswith("not stated")  # the library's licence is that of its own release
    assert found.origin == "resnet10t.safetensors"


def test_a_folder_stands_for_the_one_file_in_it(weights_file: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="one weights file in .*; found none. Run make demo WEIGHTS=path"):
        load(chosen(tmp_path))
    shutil.copy(weights_file, tmp_path)
    assert load(chosen(tmp_path))[1].origin == weights_file.name
    shutil.copy(weights_file, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="found other.safetensors, resnet10t.safetensors"):
        load(chosen(tmp_path))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file. Check backbone.file"):
        load(chosen(tmp_path / "none.safetensors"))


@pytest.mark.parametrize("keep", [0, 5, 1000, -10])
def test_a_truncated_file(weights_file: Path, tmp_path: Path, keep: int) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights_file.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="whole safetensors file.*truncated"):
        load(chosen(cut))


def test_another_architecture(weights_file: Path) -> None:
    with pytest.raises(WeightsError, match="belongs to another architecture"):
        load(chosen(weights_file, "mobilenetv3_small_050"))
    with pytest.raises(WeightsError, match=r"tensors of resnet18.*missing.*unknown.*another architecture"):
        load(chosen(weights_file, "resnet18"))


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    path = tmp_path / "bomb.pth"
    torch.save({"w": Bomb()}, path)
    with pytest.raises(WeightsError, match="a pickle that holds other objects"):
        load(chosen(path))
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(WeightsError, match=r"pickle|cannot be read"):
        load(chosen(path))
    assert not (tmp_path / "ran").exists()


def test_a_pytorch_file_of_tensors_is_loaded(weights_file: Path, tmp_path: Path) -> None:
    torch.save(load_file(weights_file), tmp_path / "w.pth")
    load(chosen(tmp_path / "w.pth"))
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="a state dict in"):
        load(chosen(tmp_path / "other.pth"))


def test_an_unknown_network_names_near_ones() -> None:
    with pytest.raises(ConfigError, match="Near to it: .*resnet18"):
        create("resnet_18", {})


def test_embedded_is_not_replaced_by_anything_else() -> None:
    with pytest.raises(WeightsError, match="came with this version; found none"):
        load(Backbone(name="resnet10t", weights="embedded", file=Path("models/weights")))


class _Hub(SimpleHTTPRequestHandler):
    """Answers as a model hub does for one file."""

    content = b""

    def _head(self) -> bool:
        if self.path != "/timm/resnet10t.c3_in1k/resolve/main/model.safetensors":
            self.send_error(404)
            return False
        self.send_response(200)
        self.send_header("ETag", '"0123456789abcdef"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        return True

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        if self._head():
            self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(weights_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    _Hub.content = weights_file.read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    real = weights.hf_hub_download

    def download(repository: str, filename: str, **options: object) -> str:
        return str(real(repository, filename, endpoint=endpoint, cache_dir=tmp_path / "hub", **options))

    monkeypatch.setattr(weights, "hf_hub_download", download)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_hub_file_is_fetched_and_named(hub: ThreadingHTTPServer, weights_file: Path) -> None:
    _, found, stated = load(Backbone(name="resnet10t", weights="hub", file=Path("models/weights")))
    assert stated.licence == "apache-2.0"
    assert found.origin == "hub:timm/resnet10t.c3_in1k/model.safetensors"
    assert found.state.keys() == load_file(weights_file).keys()


@pytest.mark.usefixtures("hub")
def test_a_hub_without_the_file_names_the_two_ways_out() -> None:
    with pytest.raises(WeightsError, match=r"from the model hub; found no answer.*backbone\.weights: file.*try again"):
        load(Backbone(name="resnet18", weights="hub", file=Path("models/weights")))
