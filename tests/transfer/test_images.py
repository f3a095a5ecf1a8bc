"""Decoding photographs from a folder or an npz."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import DataError
from pipeline.transfer.images import decode, load

#: Name, width, height, mean grey.
PHOTOS = [("ant/one.png", 40, 20, 200), ("ant/deep/two.webp", 20, 20, 100), ("bee/three.JPEG", 10, 30, 50)]


def photo(width: int, height: int, grey: int) -> Image.Image:
    return Image.fromarray(np.full((height, width, 3), grey, np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, *shape in PHOTOS:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(*shape).save(path)
    (tmp_path / "photos" / "readme.txt").write_text("not a class")
    (tmp_path / "photos" / "ant" / "notes.txt").write_text("not an image")
    return tmp_path / "photos"


def test_a_folder_of_classes(folder: Path, tmp_path: Path) -> None:
    decode(folder, tmp_path / "out", 16)
    found = load(tmp_path / "out")
    assert found.classes == ["ant", "bee"]
    assert found.labels.tolist() == [0, 0, 1]
    assert found.pixels.shape == (3, 16, 16, 3)
    assert found.pixels.mean((1, 2, 3)) == pytest.approx([100, 200, 50], abs=3)


def test_an_npz_gives_the_same_as_the_folder(folder: Path, tmp_path: Path) -> None:
    decode(folder, tmp_path / "of_folder", 16)
    files = [folder / name for name in ("ant/deep/two.webp", "ant/one.png", "bee/three.JPEG")]
    encoded = [path.read_bytes() for path in files]
    np.savez(
        tmp_path / "photos.npz",
        data=np.frombuffer(b"".join(encoded), np.uint8),
        offsets=np.cumsum([0, *map(len, encoded)]),
        labels=np.array([0, 0, 1], np.int16),
        wnids=np.array(["ant", "bee"]),
    )
    decode(tmp_path / "photos.npz", tmp_path / "of_npz", 16)
    for name in ("pixels.npy", "labels.json"):
        assert (tmp_path / "of_npz" / name).read_bytes() == (tmp_path / "of_folder" / name).read_bytes()


def test_the_middle_square_is_kept(tmp_path: Path) -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    buffer = tmp_path / "wide" / "class" / "a.png"
    buffer.parent.mkdir(parents=True)
    Image.fromarray(pixels).save(buffer)
    decode(tmp_path / "wide", tmp_path / "out", 10)
    assert (load(tmp_path / "out").pixels == 255).all()


def test_no_images_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty" / "class").mkdir(parents=True)
    np.savez(tmp_path / "other.npz", data=np.zeros(3))
    for source, words in (
        (tmp_path / "none", "no such folder"),
        (tmp_path / "none.npz", "no such file"),
        (tmp_path / "empty", "no image in any subfolder"),
        (tmp_path / "other.npz", "an npz without labels, offsets, wnids"),
    ):
        with pytest.raises(DataError, match=words):
            decode(source, tmp_path / "out", 16)


def test_an_image_that_cannot_be_read_is_named_and_nothing_is_written(folder: Path, tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(whole, "PNG")
    (folder / "bee" / "cut.png").write_bytes(whole.getvalue()[:900])
    with pytest.raises(DataError, match=r"an image that can be read; found .*cut\.png"):
        decode(folder, tmp_path / "out", 16)
    assert not (tmp_path / "out" / "pixels.npy").exists()
