import hashlib

import pytest

from pipeline.config import load
from pipeline.errors import SplitError
from pipeline.files import read_csv, write_csv
from pipeline.stages.split import split


@pytest.fixture
def project(tmp_path, monkeypatch):
    """What ingest leaves: two series for each of 40 patients, and one patient without a label."""
    monkeypatch.chdir(tmp_path)
    scans = [(f"s{i:02}{k}", f"p{i:02}", i % 2, "AB"[i // 2 % 2]) for i in range(40) for k in "ab"]
    index = [
        {"series": s, "patient": p, "source_sha256": hashlib.sha256(s.encode()).hexdigest()}
        for s, p, _, _ in [*scans, ("s99a", "p99", 0, "")]
    ]
    units = [
        {"series": s, "patient": p, "slice_index": "", "label": label, "site": site} for s, p, label, site in scans
    ]
    write_csv(tmp_path / "data/ingested/index.csv", index[0], index)
    write_csv(tmp_path / "data/ingested/labels.csv", units[0], units)
    return tmp_path


def test_every_labelled_patient_is_written_once(project, root):
    params = load(root / "params.yaml")
    split(params)
    rows = read_csv(project / "data/split.csv")
    assert list(rows[0]) == ["patient", "split", "site", "label"]
    assert sorted(row["patient"] for row in rows) == [f"p{i:02}" for i in range(40)]
    assert [sum(row["split"] == side for row in rows) for side in ("train", "val", "test")] == [20, 8, 12]
    assert all(int(row["label"]) == int(row["patient"][1:]) % 2 for row in rows)
    first = (project / "data/split.csv").read_bytes()
    split(params)
    assert (project / "data/split.csv").read_bytes() == first


def test_an_unknown_site_leaves_nothing_behind(project, root):
    params = load(root / "params.yaml")
    wrong = params.model_copy(update={"split": params.split.model_copy(update={"hold_out_sites": ["C"]})})
    with pytest.raises(SplitError, match="Sites there: A, B"):
        split(wrong)
    assert not (project / "data/split.csv").exists()
