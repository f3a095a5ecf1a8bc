"""What `--explain` says of each series: what was inferred, from what, and which rule decided."""

from __future__ import annotations

import pytest

from pipeline.contract import Selection
from pipeline.dicom import explain
from pipeline.dicom.load import load, survey
from pipeline.dicom.pseudonym import Pseudonyms
from pipeline.dicom.reasons import Rejection

NAMES = Pseudonyms(b"key")
STUDY = "2.25.7"


def chosen(**rules):
    return Selection(**{"contrasts": ["FLAIR"], "min_slices": 8, **rules})


@pytest.fixture
def explained(builder, tmp_path):
    """The lines for a folder with these data sets, and the block of each series without its name."""

    def explained(datasets, selection):
        builder.save(datasets, tmp_path)
        lines = list(explain.lines(*survey(tmp_path, selection, workers=1), NAMES, selection))
        blocks, current = {}, []
        for line in lines:
            if line.startswith(("  taken", "  left")):
                verdict, name, *rest = line.split()
                current = blocks.setdefault(name, [])
                current.append(" ".join((verdict, *rest)))
            elif line.startswith(" " * 11):
                current[-1] += f" {line.strip()}"
            elif line.startswith(" " * 9):
                current.append(line.strip())
        return lines, {name: " | ".join(block) for name, block in blocks.items()}

    return explained


def name(builder, series, volume=None):
    return NAMES.volume(builder.uid(series, "series"), volume)


def test_taken_and_left_with_what_was_inferred_and_the_rule(builder, explained):
    made = [
        *builder.classic("right", 9, MRAcquisitionType="2D", FlipAngle=150),
        *builder.classic("t1", contrast="T1", orientation=builder.SAGITTAL, MRAcquisitionType="3D", step_mm=1.25),
        *builder.classic("short", 3),
        *builder.classic("scout", 1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    ]
    lines, blocks = explained(made, chosen())
    assert lines[0] == "Rules: contrast FLAIR, at least 8 slices."
    assert blocks == {
        name(builder, "right"): "taken FLAIR axial 2D 9 slices, 3 mm apart"
        " | SE IR, TR 9000 ms, TE 120 ms, TI 2400 ms, flip 150°: FLAIR",
        name(builder, "t1"): "left T1 sagittal 3D 10 slices, 1.25 mm apart"
        " | SE, TR 500 ms, TE 12 ms: T1 | contrast_not_selected: T1 is not in ingest.contrasts: [FLAIR]",
        name(builder, "short"): "left FLAIR axial ?D 3 slices, 3 mm apart"
        " | SE IR, TR 9000 ms, TE 120 ms, TI 2400 ms: FLAIR"
        " | too_few_slices: 3 of at least 8 (ingest.min_slices)",
        name(builder, "scout"): "left FLAIR axial ?D 1 slice | SE IR, TR 9000 ms, TE 120 ms, TI 2400 ms: FLAIR"
        " | localizer: a localizer: ImageType says so, or its planes stand on each other at right angles",
    }
    assert "4 series: 1 taken, in 1 volume; 3 left." in lines
    assert "Left: 1 contrast_not_selected, 1 localizer, 1 too_few_slices." in lines


def test_rules_on_plane_and_2d_or_3d_are_named_with_their_values(builder, explained):
    made = [
        *builder.classic("coronal", orientation=builder.CORONAL, MRAcquisitionType="3D"),
        *builder.classic("2D", MRAcquisitionType="2D"),
        *builder.classic("silent"),
    ]
    lines, blocks = explained(made, chosen(planes=["axial", "sagittal"], acquisition_types=["3D"]))
    assert lines[0] == "Rules: contrast FLAIR, plane axial or sagittal, 3D, at least 8 slices."
    ends = {key: block.split(" | ")[-1] for key, block in blocks.items()}
    assert ends == {
        name(builder, "coronal"): "plane_not_selected: coronal is not in ingest.planes: [axial, sagittal]",
        name(builder, "2D"): "acquisition_type_not_selected: 2D is not in ingest.acquisition_types: [3D]",
        name(builder, "silent"): "acquisition_type_not_selected: no MRAcquisitionType, which is not in "
        "ingest.acquisition_types: [3D]",
    }


@pytest.mark.parametrize(
    ("better", "worse", "why"),
    [
        ({"slices": 12}, {"slices": 9}, "most_slices is for {}, which has 12 slices"),
        ({"step_mm": 1.5}, {"step_mm": 3.0}, "thinnest is for {}, whose slices are 1.5 mm apart"),
        ({"SeriesNumber": 7}, {"SeriesNumber": 6}, "latest is for {}"),
        ({}, {}, "no merit decides, SeriesInstanceUID and volume number are for {}"),
    ],
)
def test_the_better_series_of_a_study_is_named_and_why_it_is(builder, explained, better, worse, why):
    better_name, worse_name = sorted("xy", key=lambda series: builder.uid(series, "series"), reverse=True)
    made = [
        *builder.classic(better_name, StudyInstanceUID=STUDY, **better),
        *builder.classic(worse_name, StudyInstanceUID=STUDY, **worse),
    ]
    lines, blocks = explained(made, chosen(best_of_study=["most_slices", "thinnest", "latest"]))
    assert sum(line.startswith("P-") for line in lines) == 1
    assert blocks[name(builder, better_name)].endswith("the best FLAIR in its study")
    reason = " ".join(blocks[name(builder, worse_name)].split(" | ")[2:])
    assert reason == "not_best_of_study: " + why.format(name(builder, better_name))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"TR": 3000, "TE": 55, "SeriesDescription": "JANE T2"}, "T2 or PD; description broke the tie, for T2"),
        ({"TR": 3000, "TE": 55, "AcquisitionContrast": "T2"}, "T2 or PD; AcquisitionContrast broke the tie, for T2"),
        (
            {"TR": 3000, "TE": 55, "ImageType": ["ORIGINAL", "PRIMARY", "T2", "NONE"]},
            "T2 or PD; ImageType broke the tie, for T2",
        ),
        ({"TR": 3000, "TE": 55}, "T2 or PD, and nothing breaks the tie"),
        ({"TR": None, "TE": 55}, "TR or TE is missing, and nothing breaks the tie"),
        ({"TR": 700, "TE": 25, "ScanningSequence": "GR"}, "none of T1, T2, PD, FLAIR"),
        (
            {"TR": 500, "TE": 12, "AcquisitionContrast": "DIFFUSION"},
            "diffusion, angiography or the like, by the header's word",
        ),
    ],
)
def test_where_a_contrast_comes_from(builder, explained, changes, said):
    changes = {"ScanningSequence": "SE", "InversionTime": None} | changes
    changes["RepetitionTime"], changes["EchoTime"] = changes.pop("TR"), changes.pop("TE")
    lines, blocks = explained(builder.classic(**changes), chosen(contrasts=None))
    [block] = blocks.values()
    assert block.split(" | ")[1].partition(": ")[2] == said
    assert not any("JANE" in line for line in lines)


def test_planes_that_differ_in_contrast_are_said_to(builder, explained):
    series = builder.classic()
    series[3].RepetitionTime, series[3].EchoTime, series[3].InversionTime = 500, 12, None
    series[3].ScanningSequence = "SE"
    _, blocks = explained(series, chosen(contrasts=None))
    [block] = blocks.values()
    assert "the planes differ in contrast" in block


def test_time_points_that_repeat_a_picture_are_one_block(builder, explained):
    series = builder.several([{"TemporalPositionIdentifier": number} for number in range(1, 41)], slices=3)
    lines, blocks = explained(series, chosen(min_slices=2))
    first = NAMES.series(series[0].SeriesInstanceUID)
    assert list(blocks) == [f"{first}-v1", f"{first}-v2"]
    assert f"  left   {first}-v2 to -v40  FLAIR  axial     ?D  3 slices, 3 mm apart" in lines


def test_every_line_is_for_100_columns_and_of_no_identifier(builder, explained, tmp_path):
    (tmp_path / "DOE^JANE.txt").write_text("born 19470309")
    made = [
        *builder.classic("a", SeriesDate="20210617", SeriesTime="101112", SeriesDescription="DOE^JANE", SeriesNumber=9),
        *builder.classic("b", Modality="CT"),
        builder.enhanced("c"),
        *builder.classic("d", PatientID=""),
        *builder.classic("e", ImageType=["DERIVED", "SECONDARY"]),
    ]
    selection = chosen(planes=["axial", "coronal"], best_of_study=["most_slices", "thinnest", "latest"])
    lines, blocks = explained(made, selection)
    assert len(blocks) == 5
    assert max(map(len, lines)) <= explain.WIDTH
    assert not any(line != line.rstrip() for line in lines)
    text = "\n".join(lines)
    assert "Files of no series: 1 not_dicom." in text
    assert "P-?" in text
    for secret in (*builder.IDENTIFIERS, "DOE", "JANE", "101112", "2.25."):
        assert secret not in text


def test_verdicts_are_those_of_reading(builder, tmp_path):
    """Whatever the rules, each series is taken or left as `load` does it, for the reason that stands in its row."""
    made = [ds for k, kind in enumerate(("FLAIR", "T1", "T2")) for ds in builder.classic(f"c{k}", 8 + k, kind)]
    made += builder.classic("s", orientation=builder.SAGITTAL, MRAcquisitionType="3D", StudyInstanceUID=STUDY)
    made += builder.classic("x", 11, StudyInstanceUID=STUDY)
    made += builder.several([{"EchoTime": 120}, {"EchoTime": 140}], slices=8)
    builder.save(made, tmp_path)
    for rules in (
        {},
        {"planes": ["axial"]},
        {"acquisition_types": ["3D"], "contrasts": None},
        {"best_of_study": ["most_slices"], "contrasts": None},
    ):
        selection = chosen(**rules)
        series, _ = survey(tmp_path, selection, workers=1)
        verdicts = [verdict for each in series for verdict in each]
        taken = {(v.first.series_uid, v.volume_number) for v in verdicts if v.plan}
        found = list(load(tmp_path, selection, workers=1))
        assert taken == {(i.series_uid, i.volume_number) for i in found if not isinstance(i, Rejection)}
        left = {(v.first.series_uid, v.reason) for v in verdicts if v.reason}
        assert {(i.source, i.reason) for i in found if isinstance(i, Rejection)} <= left
        assert left
