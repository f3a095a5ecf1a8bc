"""The rules of `ingest` and of a release: what each takes, and by which code it leaves the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract import Selection
from pipeline.dicom.contrast import Inference, Timing
from pipeline.dicom.load import survey
from pipeline.dicom.selection import MERITS, decisive, worth
from pipeline.dicom.traits import Traits

STUDY = "2.25.1"


def chosen(**rules):
    return Selection(**{"contrasts": None, "min_slices": 2, **rules})


@pytest.fixture
def outcome(builder, read, tmp_path):
    """What becomes of series that are given by name and changes: `ok`, or the reason."""

    def outcome(selection, series, study=None):
        names, folder = {}, tmp_path / str(len(list(tmp_path.iterdir())))
        for name, changes in series.items():
            changes = {"patient": "MRN-1", **changes, **({"StudyInstanceUID": study} if study else {})}
            made = [changes.pop("file")] if "file" in changes else builder.classic(name, **changes)
            if study:
                for ds in made:
                    ds.StudyInstanceUID, ds.PatientID = study, "MRN-1"
            builder.save(made, folder)
            names[made[0].SeriesInstanceUID] = name
        scans, rejections = read(folder, selection)
        found = {names[scan.series_uid]: "ok" for scan in scans}
        assert not found.keys() & {names[rejection.source] for rejection in rejections if not rejection.part}
        return found | {names[rejection.source]: rejection.reason for rejection in rejections}

    return outcome


def enhanced(builder, name, acquisition_type=None, orientation=None):
    ds = builder.enhanced(name)
    if acquisition_type:
        ds.MRAcquisitionType = acquisition_type
    if orientation:
        plane = ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
        plane.ImageOrientationPatient = list(orientation)
        order = [
            group.FrameContentSequence[0].InStackPositionNumber - 1 for group in ds.PerFrameFunctionalGroupsSequence
        ]
        for index, group in zip(order, ds.PerFrameFunctionalGroupsSequence, strict=True):
            group.PlanePositionSequence[0].ImagePositionPatient = builder.position(index, orientation)
    return {"file": ds}


def test_planes(builder, outcome):
    steep = (1.0, 0.0, 0.0, 0.0, 0.7071068, 0.7071068)
    series = {
        "axial": {},
        "coronal": {"orientation": builder.CORONAL},
        "sagittal": {"orientation": builder.SAGITTAL},
        "oblique": {"orientation": steep},
        "enhanced coronal": enhanced(builder, "enhanced coronal", orientation=builder.CORONAL),
        "enhanced axial": enhanced(builder, "enhanced axial"),
    }
    found = outcome(chosen(planes=["coronal", "oblique"]), series)
    assert found == dict.fromkeys(series, "plane_not_selected") | {
        "coronal": "ok",
        "oblique": "ok",
        "enhanced coronal": "ok",
    }


@pytest.mark.parametrize("wanted", ["2D", "3D"])
def test_acquisition_types(builder, outcome, wanted):
    series = {
        "2D": {"MRAcquisitionType": "2D"},
        "3D": {"MRAcquisitionType": "3D"},
        "silent": {},
        "enhanced 2D": enhanced(builder, "enhanced 2D", "2D"),
        "enhanced 3D": enhanced(builder, "enhanced 3D", "3D"),
    }
    found = outcome(chosen(acquisition_types=[wanted]), series)
    assert found == dict.fromkeys(series, "acquisition_type_not_selected") | {wanted: "ok", f"enhanced {wanted}": "ok"}


def test_contrast_is_asked_before_plane_and_plane_before_2d_or_3d(builder, outcome):
    rules = chosen(contrasts=["FLAIR"], planes=["coronal"], acquisition_types=["3D"])
    series = {
        "t1": {"contrast": "T1", "MRAcquisitionType": "2D"},
        "axial": {"MRAcquisitionType": "2D"},
        "2D": {"orientation": builder.CORONAL, "MRAcquisitionType": "2D"},
        "right": {"orientation": builder.CORONAL, "MRAcquisitionType": "3D"},
    }
    assert outcome(rules, series) == {
        "t1": "contrast_not_selected",
        "axial": "plane_not_selected",
        "2D": "acquisition_type_not_selected",
        "right": "ok",
    }


def test_without_rules_everything_is_taken(builder, outcome):
    series = {"axial": {}, "coronal": {"orientation": builder.CORONAL}, "t1": {"contrast": "T1", "slices": 2}}
    assert set(outcome(chosen(), series, STUDY).values()) == {"ok"}


LATE = {"SeriesDate": "20210617", "SeriesTime": "110000"}
EARLY = {"SeriesDate": "20210617", "SeriesTime": "093000.25"}
BEST = {
    "most slices": (["most_slices"], {"slices": 12, **EARLY}, {"slices": 10, **LATE}),
    "thinnest": (["thinnest"], {"step_mm": 1.0, **EARLY}, {"step_mm": 3.0, "slices": 20, **LATE}),
    "latest": (["latest"], LATE, {"slices": 20, **EARLY}),
    "next day": (["latest"], {"SeriesDate": "20210618", "SeriesTime": "001500"}, LATE),
    "by number, where there is no time": (["latest"], {"SeriesNumber": 11}, {"SeriesNumber": 9}),
    "the first merit weighs most": (["most_slices", "thinnest"], {"slices": 12}, {"slices": 10, "step_mm": 1.0}),
    "the second breaks ties of the first": (["most_slices", "thinnest"], {"step_mm": 1.0}, {"step_mm": 3.0}),
    "the later one breaks the last tie": (["most_slices"], LATE, EARLY),
}


@pytest.mark.parametrize("name", BEST)
def test_of_a_study_the_best_is_taken(outcome, name):
    merits, better, worse = BEST[name]
    for order in ({"x": better, "y": worse}, {"y": better, "x": worse}):
        found = outcome(chosen(best_of_study=merits), order, STUDY)
        first, second = order
        assert found == {first: "ok", second: "not_best_of_study"}


def test_each_contrast_and_each_study_has_its_best(builder, outcome):
    rules = chosen(best_of_study=["most_slices"])
    series = {
        "flair": {"slices": 12},
        "short flair": {"slices": 11},
        "t1": {"slices": 5, "contrast": "T1"},
        "another study": {"slices": 4, "StudyInstanceUID": "2.25.2"},
        "another patient": {"slices": 4, "patient": "MRN-2"},
    }
    for name, changes in series.items():
        changes.setdefault("StudyInstanceUID", STUDY if name != "another patient" else "2.25.3")
    found = outcome(rules, series)
    assert found == dict.fromkeys(series, "ok") | {"short flair": "not_best_of_study"}


def test_what_the_rules_refuse_is_no_rival(builder, outcome):
    rules = chosen(planes=["axial"], best_of_study=["most_slices"])
    series = {"axial": {"slices": 8}, "coronal": {"slices": 30, "orientation": builder.CORONAL}}
    assert outcome(rules, series, STUDY) == {"axial": "ok", "coronal": "plane_not_selected"}


def test_equal_series_are_parted_by_their_uids_whatever_files_are_called(builder, read, tmp_path):
    rules = chosen(best_of_study=["most_slices", "thinnest", "latest"])
    made = [ds for name in "abc" for ds in builder.classic(name, StudyInstanceUID=STUDY)]
    taken = []
    for salt in ("one", "two"):
        [scan], rejections = read(builder.save(made, tmp_path / salt, salt), rules)
        assert [rejection.reason for rejection in rejections] == ["not_best_of_study"] * 2
        taken.append(scan.series_uid)
    assert taken == [max(builder.uid(name, "series") for name in "abc")] * 2


def test_of_the_volumes_of_one_series_the_best_is_taken_and_the_rest_is_a_part(builder, read, tmp_path):
    series = builder.several([{"EchoTime": 120}, {"EchoTime": 140}])
    [scan], [rejection] = read(builder.save(series, tmp_path), chosen(best_of_study=["most_slices"]))
    assert (scan.volume_number, rejection.reason, rejection.part) == (1, "not_best_of_study", True)


def test_a_series_has_one_reason_although_one_of_its_volumes_was_only_beaten(builder, read, tmp_path):
    series = builder.several([{"EchoTime": 120}, {"EchoTime": 12, "InversionTime": None, "ScanningSequence": "SE"}])
    for ds in series:
        ds.StudyInstanceUID = STUDY
    builder.save([*series, *builder.classic("better", 12, StudyInstanceUID=STUDY)], tmp_path)
    [scan], [rejection] = read(tmp_path, chosen(contrasts=["FLAIR"], best_of_study=["most_slices"]))
    assert scan.volume.voxels.shape[0] == 12
    assert (rejection.source, rejection.part) == (series[0].SeriesInstanceUID, False)
    assert rejection.reason == "contrast_not_selected"


def test_the_best_is_chosen_by_headers_alone(builder, outcome):
    """A best volume whose pixels cannot be read is said to be so, and no lesser one takes its place."""
    series = {"best": {"slices": 12, "PixelData": b"\0\0"}, "other": {"slices": 10}}
    found = outcome(chosen(best_of_study=["most_slices"]), series, STUDY)
    assert found == {"best": "unreadable_pixels", "other": "not_best_of_study"}


TIMING = Timing(frozenset({"SE"}), 500.0, 12.0, None, None, False, "", "", frozenset(), False, "2D")
VOLUMES = st.builds(
    lambda slices, step, time, number: Traits(
        Inference("T1", frozenset({"T1"}), "timing"), TIMING, "axial", "2D", slices, step, (time, number)
    ),
    st.integers(2, 4),
    st.one_of(st.none(), st.sampled_from([1.0, 1.01, 5.0])),
    st.sampled_from(["", "20210617", "20210617101500", "20210618"]),
    st.sampled_from([-1.0, 1.0, 2.0]),
)


@given(VOLUMES, VOLUMES, st.permutations([*MERITS]), st.integers(1, 3))
def test_the_decisive_merit_is_the_first_that_differs_and_agrees_with_the_order(one, two, merits, count):
    merits = merits[:count]
    better, worse = sorted((one, two), key=lambda traits: worth(traits, merits), reverse=True)
    merit = decisive(better, worse, merits)
    asked = [*merits, "latest"]
    if merit is None:
        assert worth(one, merits) == worth(two, merits)
        return
    assert MERITS[merit](better) > MERITS[merit](worse)
    for earlier in asked[: asked.index(merit)]:
        assert MERITS[earlier](one) == MERITS[earlier](two)


@pytest.mark.acceptance
def test_rules_on_scanners_own_files(shared, read):
    folder = shared / "data/dicom/dcm_qa_philips_enh/In/cl"
    every, _ = read(folder, chosen(min_slices=8))
    assert len(every) > 2
    rules = chosen(min_slices=8, planes=["sagittal"], acquisition_types=["3D"])
    scans, _ = read(folder, rules)
    assert [(scan.contrast, scan.volume.voxels.shape[0]) for scan in scans] == [("T1", 170)]
    series, _ = survey(folder, rules, workers=1)
    left = {(v.traits.plane, v.reason) for verdicts in series for v in verdicts if v.traits and v.reason}
    assert left == {("axial", "plane_not_selected"), ("axial", "not_magnitude")}
    best, _ = read(folder, chosen(min_slices=8, contrasts=["T1"], best_of_study=["thinnest"]))
    assert [(scan.contrast, scan.volume.voxels.shape[0]) for scan in best] == [("T1", 170)]
