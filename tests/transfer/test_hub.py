"""Weights from a model hub that answers as it should, wrongly, or not at all."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from pipeline.errors import WeightsError
from pipeline.transfer import hub
from tests.model_hub import ModelHub, ask

REPOSITORY = "timm/resnet10t.c3_in1k"
SAFE, PICKLE = (f"{REPOSITORY}/{name}" for name in hub.FILES)
CONTENT = b"tensors" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MOST = 1 << 20
TWO_WAYS = r"backbone\.weights: file.*try again"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The cache of the hub's library, empty at first."""
    return tmp_path / "cache"


@pytest.fixture
def served(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelHub]:
    """A hub with the one file, which the library asks."""
    with ModelHub().serving() as serving:
        serving.files[SAFE] = CONTENT
        ask(serving.endpoint, cache, monkeypatch)
        yield serving


def _kept(cache: Path) -> list[Path]:
    """Files in the cache, but for its notes about itself and its locks."""
    return [path for path in cache.rglob("*") if path.is_file() and "blobs" in path.parts]


def test_a_file_comes_from_behind_the_redirect_with_its_checksum(served: ModelHub, cache: Path) -> None:
    fetched = hub.fetch(REPOSITORY, MOST)
    assert fetched.path.read_bytes() == CONTENT
    assert (fetched.name, fetched.sha256) == ("model.safetensors", SHA256)
    assert cache in fetched.path.parents
    assert f"GET /storage/{SAFE}" in served.asked


def test_what_is_in_the_cache_is_not_fetched_again(served: ModelHub) -> None:
    first = hub.fetch(REPOSITORY, MOST)
    served.asked.clear()
    assert hub.fetch(REPOSITORY, MOST) == first
    assert [asked for asked in served.asked if asked.startswith("GET")] == []


def test_a_new_version_is_fetched(served: ModelHub) -> None:
    hub.fetch(REPOSITORY, MOST)
    served.files[SAFE] = b"others"
    fetched = hub.fetch(REPOSITORY, MOST)
    assert (fetched.path.read_bytes(), fetched.sha256) == (b"others", hashlib.sha256(b"others").hexdigest())


def test_safetensors_are_preferred_and_a_pytorch_file_is_taken_where_there_are_none(served: ModelHub) -> None:
    served.files[PICKLE] = b"a pickle"
    assert hub.fetch(REPOSITORY, MOST).name == "model.safetensors"
    del served.files[SAFE]
    other = hub.fetch(REPOSITORY, MOST)
    assert (other.name, other.path.read_bytes()) == ("pytorch_model.bin", b"a pickle")


def test_a_small_file_has_no_sha256_to_be_compared_with(served: ModelHub) -> None:
    served.plain = True
    assert hub.fetch(REPOSITORY, MOST).sha256 is None


def test_wrong_bytes_are_refused_with_both_checksums_and_not_kept(served: ModelHub, cache: Path) -> None:
    wrong = CONTENT[:-1] + b"!"
    served.sent[SAFE] = wrong
    with pytest.raises(WeightsError, match=f"{SHA256}.*{hashlib.sha256(wrong).hexdigest()}"):
        hub.fetch(REPOSITORY, MOST)
    assert _kept(cache) == []
    served.sent.clear()
    assert hub.fetch(REPOSITORY, MOST).sha256 == SHA256


def test_a_truncated_file_is_refused_and_not_kept(served: ModelHub, cache: Path) -> None:
    served.cut = 100
    with pytest.raises(WeightsError, match=TWO_WAYS):
        hub.fetch(REPOSITORY, MOST)
    assert _kept(cache) == []


def test_more_than_the_network_can_take_is_not_fetched(served: ModelHub) -> None:
    with pytest.raises(WeightsError, match=f"at most 6999 bytes .*; found {len(CONTENT)}.*not fetched"):
        hub.fetch(REPOSITORY, 6999)
    assert [asked for asked in served.asked if asked.startswith("GET")] == []


def test_an_etag_that_leads_out_of_the_cache_is_refused(served: ModelHub, monkeypatch: pytest.MonkeyPatch) -> None:
    stated = hub.get_hf_file_metadata(hub.hf_hub_url(REPOSITORY, "model.safetensors"))
    monkeypatch.setattr(hub, "get_hf_file_metadata", lambda *_, **__: type(stated)(**vars(stated) | {"etag": "../x"}))
    with pytest.raises(WeightsError, match=r"an ETag.*found '\.\./x'"):
        hub.fetch(REPOSITORY, MOST)


@pytest.mark.parametrize("status", [401, 404, 500, 503])
def test_an_error_of_the_hub_names_the_two_ways_out(served: ModelHub, status: int) -> None:
    served.status = status
    with pytest.raises(WeightsError, match=rf"from the model hub 127\.0\.0\.1:\d+; found .*{status}.*{TWO_WAYS}"):
        hub.fetch(REPOSITORY, MOST)


def test_neither_file_is_there(served: ModelHub) -> None:
    served.files.clear()
    with pytest.raises(WeightsError, match=rf"model\.safetensors or pytorch_model\.bin of {REPOSITORY}.*{TWO_WAYS}"):
        hub.fetch(REPOSITORY, MOST)


@pytest.mark.parametrize("who", ["hub", "storage", "middle"])
def test_silence_ends_after_the_patience(served: ModelHub, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    served.silent = who
    monkeypatch.setattr(hub, "PATIENCE_S", 0.5)
    begin = time.monotonic()
    with pytest.raises(WeightsError, match=TWO_WAYS):
        hub.fetch(REPOSITORY, MOST)
    assert 0.5 <= time.monotonic() - begin < 3
    served.silent = ""
    assert hub.fetch(REPOSITORY, MOST).sha256 == SHA256


def test_where_nobody_listens_the_answer_is_immediate(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there, and nobody else can
        ask(f"http://127.0.0.1:{taken.getsockname()[1]}", cache, monkeypatch)
        begin = time.monotonic()
        with pytest.raises(WeightsError, match=TWO_WAYS):
            hub.fetch(REPOSITORY, MOST)
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize("fault", ["status", "silent", "offline"])
def test_a_warm_cache_stands_in_for_its_hub(served: ModelHub, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    fetched = hub.fetch(REPOSITORY, MOST)
    served.asked.clear()
    monkeypatch.setattr(hub, "PATIENCE_S", 0.5)
    if fault == "status":
        served.status = 503
    elif fault == "silent":
        served.silent = "hub"
    else:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.fetch(REPOSITORY, MOST) == fetched
    assert served.asked == [] or fault != "offline"


def test_offline_with_an_empty_cache_asks_nobody(served: ModelHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=f"found HF_HUB_OFFLINE is set.*{TWO_WAYS}"):
        hub.fetch(REPOSITORY, MOST)
    assert served.asked == []


@pytest.mark.parametrize("silent", [True, False])
def test_the_environment_is_honoured_within_a_few_seconds(served: ModelHub, tmp_path: Path, silent: bool) -> None:
    """As a user sets it: HF_ENDPOINT, HF_HUB_OFFLINE and HF_HOME, with the patience that is shipped."""
    served.silent = "hub" if silent else ""
    environment = {**os.environ, "HF_ENDPOINT": served.endpoint, "HF_HOME": str(tmp_path / "home")}
    environment |= {} if silent else {"HF_HUB_OFFLINE": "1"}
    code = (
        "import time\nfrom pipeline.transfer import hub\nbegin = time.monotonic()\n"
        f"try: hub.fetch({REPOSITORY!r}, {MOST})\nfinally: print(time.monotonic() - begin)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert "WeightsError: expected model.safetensors" in done.stderr
    assert float(done.stdout) < (12 if silent else 1)
    assert bool(served.asked) == silent
