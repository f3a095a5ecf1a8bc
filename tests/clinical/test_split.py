import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clinical.split import SIDES, check, content_sha256, divide, labelled_patients
from pipeline.config import Split
from pipeline.errors import LeakageError, SplitError
from pipeline.targets import Targets

SHARES = (0.5, 0.2, 0.3)
HALF = Split(train=0.5, val=0.2, test=0.3)


def rows(labels, sites=None, names=None):
    """Index and labels rows of one series a patient; patient i has scan hash i whatever its pseudonym."""
    names = names or [f"p{i:03}" for i in range(len(labels))]
    sites = sites or [""] * len(labels)
    scans = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(len(labels))]
    index = [{"series": f"s{n}", "patient": n, "source_sha256": s} for n, s in zip(names, scans, strict=True)]
    units = [
        {"series": f"s{n}", "patient": n, "slice_index": "", "label": str(label), "site": site}
        for n, label, site in zip(names, labels, sites, strict=True)
    ]
    return index, units


def test_the_hash_of_a_split_is_of_who_is_on_which_side():
    dealt = [{"patient": "a", "split": "train", "site": "N"}, {"patient": "b", "split": "test", "site": "S"}]
    same = [{**row, "site": "elsewhere"} for row in dealt[::-1]]
    assert content_sha256(same) == content_sha256(dealt)
    assert content_sha256([dealt[0], {**dealt[1], "split": "val"}]) != content_sha256(dealt)
    assert content_sha256(dealt[:1]) != content_sha256(dealt)


def counts(sides, patients, wanted):
    return [sum(sides[p.patient] == side and wanted(p) for p in patients) for side in SIDES]


@settings(max_examples=60, deadline=None)
@given(
    positives=st.integers(15, 60), negatives=st.integers(15, 60), seed=st.integers(0, 2**31), sites=st.integers(1, 4)
)
def test_every_side_has_its_share_of_each_label(positives, negatives, seed, sites):
    labels = [1] * positives + [0] * negatives
    patients = labelled_patients(*rows(labels, [f"site{i % sites}" for i in range(len(labels))]))
    sides = divide(patients, HALF, seed)
    assert set(sides) == {p.patient for p in patients}
    for label, total in ((True, positives), (False, negatives)):
        found = counts(sides, patients, lambda p, label=label: p.positive == label)
        for count, share in zip(found, SHARES, strict=True):
            assert abs(count - share * total) < 1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_every_site_is_spread_over_the_sides(seed):
    labels = [i % 2 for i in range(120)]
    patients = labelled_patients(*rows(labels, [f"site{i // 2 % 3}" for i in range(120)]))
    sides = divide(patients, HALF, seed)
    for site in ("site0", "site1", "site2"):
        found = counts(sides, patients, lambda p, site=site: p.site == site)
        for count, share in zip(found, SHARES, strict=True):
            assert abs(count - share * 40) <= 3


def test_another_pseudonym_key_or_row_order_changes_nothing():
    labels = [i % 2 for i in range(40)]
    index, units = rows(labels)
    before = divide(labelled_patients(index, units), HALF, 7)
    renamed = [hashlib.sha256(f"key{i}".encode()).hexdigest()[:12] for i in range(40)]
    index, units = rows(labels, names=renamed)
    after = divide(labelled_patients(index[::-1], units[::-1]), HALF, 7)
    assert {renamed[int(name[1:])]: side for name, side in before.items()} == after


def test_the_seed_matters():
    patients = labelled_patients(*rows([i % 2 for i in range(60)]))
    assert divide(patients, HALF, 1) == divide(patients, HALF, 1)
    assert divide(patients, HALF, 1) != divide(patients, HALF, 2)


def test_held_out_sites_are_the_whole_test_side():
    sites = [["DU", "CS", "EZ"][i // 2 % 3] for i in range(60)]
    patients = labelled_patients(*rows([i % 2 for i in range(60)], sites))
    sides = divide(patients, Split(train=0.6, val=0.2, test=0.2, hold_out_sites=["CS", "EZ"]), 3)
    assert {p.patient for p in patients if p.site != "DU"} == {name for name, side in sides.items() if side == "test"}
    train, val, test = counts(sides, patients, lambda p: p.site == "DU")
    assert (train + val, test) == (20, 0)
    assert 14 <= train <= 16  # 0.6 to 0.2


def test_a_patient_seen_at_a_held_out_site_is_a_test_patient():
    index, units = rows([i % 2 for i in range(40)], ["A"] * 20 + ["B"] * 20)
    units.append({**units[0], "site": "B"})
    patients = labelled_patients(index, units)
    sides = divide(patients, Split(train=0.6, val=0.4, test=0, hold_out_sites=["B"]), 3)
    assert sides["p000"] == "test"
    assert next(p for p in patients if p.patient == "p000").site == "A+B"


def test_an_unknown_site_is_named_with_those_there():
    patients = labelled_patients(*rows([i % 2 for i in range(40)], ["DU", "CS"] * 20))
    with pytest.raises(SplitError, match=r"'XY'.*Sites there: CS, DU"):
        divide(patients, Split(train=0.6, val=0.2, test=0.2, hold_out_sites=["XY"]), 3)
    with pytest.raises(SplitError, match="no `site` column"):
        divide(labelled_patients(*rows([0, 1] * 9)), Split(train=0.6, val=0.2, test=0.2, hold_out_sites=["DU"]), 3)


def test_too_few_positive_patients_is_said():
    with pytest.raises(SplitError, match=r"at least 2 patients with a positive unit on the val side.*found 1"):
        divide(labelled_patients(*rows([1] * 7 + [0] * 30)), HALF, 0)


@pytest.mark.parametrize(("label", "word"), [(1, "positive"), (0, "negative")])
def test_two_patients_of_a_class_are_too_few_for_three_sides(label, word):
    with pytest.raises(SplitError, match=rf"at least 6 patients with a {word} unit, 2 for each of .*found 2 \(of 32"):
        divide(labelled_patients(*rows([label] * 2 + [1 - label] * 30)), HALF, 0)


def test_patients_whose_slices_are_of_both_classes_count_for_both():
    index, units = rows([1] * 30)
    units += [{**row, "slice_index": "3", "label": "0"} for row in units]
    sides = divide(labelled_patients(index, units), HALF, 0)
    assert sorted(sides.values()).count("train") == 15


def test_the_same_scan_under_two_patients_is_a_leak():
    index, units = rows([0, 1] * 10)
    index[3]["source_sha256"] = index[8]["source_sha256"]
    with pytest.raises(LeakageError, match="the same scan under the patients p003 and p008"):
        labelled_patients(index, units)


def test_a_patient_on_two_sides_is_a_leak():
    good = [{"patient": "a", "split": "train"}, {"patient": "b", "split": "test"}]
    check(good)
    with pytest.raises(LeakageError, match="patient a on train and test"):
        check([*good, {"patient": "a", "split": "test"}])
    with pytest.raises(LeakageError, match="train, val or test"):
        check([{"patient": "a", "split": "holdout"}])


GRADES = Targets("multiclass", ("low", "mid", "high"))
FINDINGS = Targets("multilabel", ("bleed", "mass", "shift"))


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(10, 40), min_size=3, max_size=3), seed=st.integers(0, 2**31))
def test_every_side_has_its_share_of_each_of_several_classes(sizes, seed):
    labels = [place for place, size in enumerate(sizes) for _ in range(size)]
    patients = labelled_patients(*rows(labels), GRADES)
    sides = divide(patients, HALF, seed, GRADES)
    for place, size in enumerate(sizes):
        for count, share in zip(
            counts(sides, patients, lambda p, place=place: place in p.present), SHARES, strict=True
        ):
            assert abs(count - share * size) < 1


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), drawn=st.randoms(use_true_random=False))
def test_every_side_has_its_share_of_each_label_of_several(seed, drawn):
    """Rare labels come with common ones, so that dealing the common ones alone would leave the rare to chance."""
    labels = ["0;1" if i < 12 else "1" if i < 50 else "1;2" if i < 60 else "" for i in range(90)]
    drawn.shuffle(labels)
    patients = labelled_patients(*rows(labels), FINDINGS)
    sides = divide(patients, HALF, seed, FINDINGS)
    for place, size in enumerate((12, 60, 10)):
        for count, share in zip(
            counts(sides, patients, lambda p, place=place: place in p.present), SHARES, strict=True
        ):
            assert abs(count - share * size) < 2


def test_patients_of_several_classes_stand_in_split_csv_with_all_of_them():
    index, units = rows(["2", "", "0"])
    units.append({**units[0], "label": "0;1"})
    found = labelled_patients(index, units, FINDINGS)
    assert {p.patient: p.label(FINDINGS) for p in found} == {"p000": "0;1;2", "p001": "", "p002": "0"}
    assert next(p for p in found if p.patient == "p000").absent == {0, 1, 2}


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_class_of_a_few_patients_is_named_with_what_to_do(size):
    labels = [2] * size + [0] * 30 + [1] * 30
    with pytest.raises(SplitError) as caught:
        divide(labelled_patients(*rows(labels), GRADES), HALF, 0, GRADES)
    said = str(caught.value)
    assert f"at least 6 patients with a unit of class 'high', 2 for each of train, val, test; found {size}" in said
    assert "Merge this class with another, drop it from data.classes and from the labels, or label more" in said


def test_a_label_that_all_but_a_few_patients_have_is_named():
    labels = ["0;1"] * 20 + ["1"] * 20 + ["2"] * 3
    with pytest.raises(SplitError, match="a unit that is not of class 'mass'.*found 3"):
        divide(labelled_patients(*rows([*labels, *(["0;1;2"] * 9)]), FINDINGS), HALF, 0, FINDINGS)


def test_a_class_that_one_side_misses_is_named_with_the_side():
    labels = [2] * 7 + [0] * 30 + [1] * 30
    with pytest.raises(SplitError, match=r"'high' on the val side; found 1 \(of 13 patients there, 7 with it in all\)"):
        divide(labelled_patients(*rows(labels), GRADES), HALF, 0, GRADES)
