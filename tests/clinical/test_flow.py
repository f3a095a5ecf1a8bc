from pipeline.clinical import flow


def test_every_series_and_patient_is_counted_once():
    index = [{"series": "S-a-v1", "patient": "P-1"}, {"series": "S-a-v2", "patient": "P-1"}]
    index += [{"series": f"S-{name}", "patient": f"P-{name}"} for name in "bcde"]
    labels = [{"series": series} for series in ("S-a-v1", "S-a-v2", "S-b", "S-c", "S-d", "S-d")]
    rejected = [
        {"source": "R-1", "reason": "localizer"},
        {"source": "R-2", "reason": "not_magnitude"},
        {"source": "R-2", "reason": "repeated_volume"},
        {"source": "R-3", "reason": "not_dicom"},
    ]
    split = [
        {"patient": "P-1", "split": "test"},
        {"patient": "P-b", "split": "test"},
        {"patient": "P-c", "split": "val"},
        {"patient": "P-d", "split": "train"},
    ]
    slices = [{"series": series, "unit": "S-a", "split": "test"} for series in ("S-a-v1", "S-a-v2")]
    slices += [{"series": "S-b", "unit": "S-b", "split": "test"}] * 3
    slices += [{"series": "S-c", "unit": "S-c", "split": "val"}, {"series": "S-d", "unit": "S-d", "split": "train"}]
    found = flow.count(rejected, index, labels, split, slices)
    assert (found["series_found"], found["series_refused"], found["series_ingested"]) == (7, 2, 5)
    assert found["files_refused"] == 1
    assert found["reasons"] == {"localizer": 1, "not_dicom": 1, "not_magnitude": 1, "repeated_volume": 1}
    volumes = [found[f"volumes_{which}"] for which in ("ingested", "without_label", "labelled")]
    patients = [found[f"patients_{which}"] for which in ("ingested", "without_label", "labelled")]
    assert (volumes, patients) == ([6, 1, 5], [5, 1, 4])
    assert found["sides"]["test"] == {"patients": 2, "series": 2, "units": 2, "slices": 5}
    assert found["sides"]["train"] == {"patients": 1, "series": 1, "units": 1, "slices": 1}
    assert_adds_up(found)


def assert_adds_up(found):
    """What is found is refused or used, and what is used is on a side."""
    assert found["series_found"] == found["series_refused"] + found["series_ingested"]
    for what in ("series", "patients"):
        unlabelled, labelled = found[f"{what}_without_label"], found[f"{what}_labelled"]
        assert found[f"{what}_ingested"] == unlabelled + labelled
        assert labelled == sum(side[what] for side in found["sides"].values())


def test_nothing_at_all():
    found = flow.count([], [], [], [], [])
    assert [value for value in found.values() if isinstance(value, int)] == [0] * 12
    assert found["sides"]["val"] == {"patients": 0, "series": 0, "units": 0, "slices": 0}
