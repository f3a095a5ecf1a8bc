"""Stage `prepare`: the array of slices and its index, at each label level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import config
from pipeline.errors import DataError, LabelError, SplitError, StorageError
from pipeline.files import read_csv, write_csv
from pipeline.imaging import nifti
from pipeline.imaging.prepare import prepare as prepared
from pipeline.imaging.volume import Volume
from pipeline.stages import prepare as stage
from pipeline.stages.prepare import prepare

#: series: (patient, study, slices). The fourth has no label.
SERIES = {"s3": ("p1", "t1", 6), "s1": ("p1", "t1", 5), "s2": ("p2", "t2", 4), "s4": ("p2", "t2", 7)}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder after ingest and split: three labelled series of two patients, one without label."""
    monkeypatch.chdir(tmp_path)
    index = []
    for number, (series, (patient, study, n_slices)) in enumerate(SERIES.items()):
        voxels = np.zeros((n_slices, 40, 36), dtype=np.float32)
        noise = np.random.default_rng(number).integers(300, 900, (n_slices, 24, 20))
        voxels[:, 8:32, 8:28] = noise * (1 + 0.1 * np.arange(n_slices))[:, None, None]
        path = Path("data/ingested/volumes") / f"{series}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(nifti.packed(Volume(voxels, np.diag([4.0, 4.0, 6.0, 1.0]))))
        row = {"series": series, "patient": patient, "study": study, "path": path, "n_slices": n_slices}
        index.append(row)
    write_csv(Path("data/ingested/index.csv"), list(index[0]), index)
    write_csv(Path("data/split.csv"), ["patient", "split"], [_side("p1", "train"), _side("p2", "test")])
    label([("s3", "", 1), ("s1", "", 1), ("s2", "", 0)])
    return tmp_path


def _side(patient: str, split: str) -> dict[str, str]:
    return {"patient": patient, "split": split}


def label(rows: list[tuple[str, object, int]]) -> None:
    columns = ["series", "patient", "slice_index", "label", "site"]
    whole = [
        dict(zip(columns, (series, SERIES[series][0], index, value, "north"), strict=True))
        for series, index, value in rows
    ]
    write_csv(Path("data/ingested/labels.csv"), columns, whole)


@pytest.fixture
def params(root: Path) -> config.Params:
    shipped = config.load(root / "params.yaml")
    transform = shipped.prepare.model_copy(update={"size": 32})
    return shipped.model_copy(update={"prepare": transform})


def at_level(params: config.Params, level: str) -> config.Params:
    return params.model_copy(update={"data": params.data.model_copy(update={"label_level": level})})


@pytest.mark.parametrize(
    ("level", "units"),
    [
        ("series", {"s1": "s1", "s2": "s2", "s3": "s3"}),
        ("study", {"s1": "t1", "s2": "t2", "s3": "t1"}),
        ("patient", {"s1": "p1", "s2": "p2", "s3": "p1"}),
    ],
)
def test_all_slices_of_labelled_series_are_kept_in_order(project, params, level: str, units: dict[str, str]) -> None:
    prepare(at_level(params, level))
    rows = read_csv(Path("data/prepared/slices.csv"))
    assert list(rows[0]) == ["series", "patient", "slice_index", "unit", "label", "split"]
    expected = [(series, index) for series in ("s1", "s2", "s3") for index in range(SERIES[series][2])]
    assert [(row["series"], int(row["slice_index"])) for row in rows] == expected
    assert all(row["unit"] == units[row["series"]] for row in rows)
    assert all(
        (row["label"], row["split"]) == (("0", "test") if row["patient"] == "p2" else ("1", "train")) for row in rows
    )


def test_the_array_holds_each_rows_slice_and_opens_as_a_memory_map(project, params) -> None:
    prepare(params)
    array = np.load("data/prepared/slices.npy", mmap_mode="r")
    rows = read_csv(Path("data/prepared/slices.csv"))
    assert array.dtype == np.uint8
    assert array.shape == (15, 32, 32)
    for place, row in enumerate(rows):
        volume = nifti.load(Path(f"data/ingested/volumes/{row['series']}.nii.gz"))
        assert (array[place] == prepared(volume, params.prepare)[int(row["slice_index"])]).all()


def test_at_slice_level_labelled_slices_alone_are_kept(project, params) -> None:
    label([("s3", 5, 1), ("s3", 2, 0), ("s1", 10 - 6, 0), ("s2", 0, 1)])
    prepare(at_level(params, "slice"))
    rows = read_csv(Path("data/prepared/slices.csv"))
    assert [(row["unit"], row["label"]) for row in rows] == [("s1/4", "0"), ("s2/0", "1"), ("s3/2", "0"), ("s3/5", "1")]
    array = np.load("data/prepared/slices.npy", mmap_mode="r")
    whole = prepared(nifti.load(Path("data/ingested/volumes/s3.nii.gz")), params.prepare)
    assert (array[2:] == whole[[2, 5]]).all()


def test_worker_processes_give_the_same_bytes(project, params, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(params)
    alone = [path.read_bytes() for path in sorted(Path("data/prepared").iterdir())]
    monkeypatch.setattr(stage, "WORKERS_PAY_FROM", 1)
    ingest = params.ingest.model_copy(update={"workers": 2})
    prepare(params.model_copy(update={"ingest": ingest}))
    assert [path.read_bytes() for path in sorted(Path("data/prepared").iterdir())] == alone


def test_no_label_is_an_error(project, params) -> None:
    label([])
    with pytest.raises(LabelError, match=r"labels\.csv"):
        prepare(params)


def test_a_label_of_a_slice_that_is_not_there_is_an_error(project, params) -> None:
    label([("s2", 1, 0), ("s2", 4, 1)])
    with pytest.raises(LabelError, match="slices 0 to 3; found one of slice 4"):
        prepare(at_level(params, "slice"))


def test_a_patient_on_no_side_is_an_error(project, params) -> None:
    write_csv(Path("data/split.csv"), ["patient", "split"], [_side("p1", "train")])
    with pytest.raises(SplitError, match="every labelled patient"):
        prepare(params)


def test_a_volume_without_a_picture_is_named_by_its_pseudonym_and_nothing_is_left(project, params) -> None:
    path = Path("data/ingested/volumes/s2.nii.gz")
    path.write_bytes(nifti.packed(Volume(np.zeros((4, 40, 36), np.float32), np.eye(4))))
    with pytest.raises(DataError, match=r"one value in every voxel \(series s2\)"):
        prepare(params)
    assert not any(Path("data/prepared").iterdir())


def test_a_volume_with_other_slices_than_its_index_says_is_an_error(project, params) -> None:
    path = Path("data/ingested/volumes/s3.nii.gz")
    volume = nifti.load(path)
    path.write_bytes(nifti.packed(Volume(volume.voxels[:3], volume.affine_lps)))
    with pytest.raises(DataError, match="6 slices in series s3"):
        prepare(params)


def test_a_full_disk_is_a_storage_error(project, params, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="room on the disk"):
        prepare(params)
    assert not any(Path("data/prepared").iterdir())


def test_volumes_of_one_series_are_one_unit_at_its_level(project, params):
    for table in ("index", "labels"):
        path = Path(f"data/ingested/{table}.csv")
        path.write_text(path.read_text().replace("s3", "s1-v2").replace("s1,", "s1-v1,"))
    for path in (project / "data/ingested/volumes").iterdir():
        path.rename(path.with_name({"s3.nii.gz": "s1-v2.nii.gz"}.get(path.name, path.name)))
    prepare(params)
    rows = read_csv(Path("data/prepared/slices.csv"))
    assert {row["unit"] for row in rows if row["series"] in {"s1-v1", "s1-v2"}} == {"s1"}
    assert len({(row["series"], row["slice_index"]) for row in rows}) == len(rows)
