import numpy as np
import pytest

from pipeline.clinical.pooling import pool_mean
from pipeline.clinical.units import units_of
from pipeline.errors import LabelError
from pipeline.targets import Targets


def test_the_units_of_a_side_and_their_slices():
    slices = [
        {"unit": unit, "patient": patient, "label": label, "split": side, "series": unit, "slice_index": place}
        for unit, patient, label, side, place in [
            ("s1", "p1", "1", "test", "0"),
            ("s2", "p2", "0", "train", "0"),
            ("s3", "p1", "0", "test", "4"),
            ("s1", "p1", "1", "test", "2"),
        ]
    ]
    units = units_of(slices, "test")
    assert units.ids == ["s1", "s3"]
    assert units.patients == ["p1", "p1"]
    assert units.labels.tolist() == [[1], [0]]
    assert units.rows.tolist() == [0, 2, 3]
    assert units.slice_units == ["s1", "s3", "s1"]
    assert units.places == [("s1", 0), ("s3", 4), ("s1", 2)]
    ids, logits = pool_mean(np.array([1.0, 5.0, 2.0], np.float32), units.slice_units)
    assert ids == units.ids
    assert logits.tolist() == [1.5, 5.0]


def test_labels_of_several_classes_have_a_column_each():
    slices = [
        {"unit": f"s{i}", "patient": "p", "label": label, "split": "val", "series": "v", "slice_index": str(i)}
        for i, label in enumerate(["0;2", "", "1"])
    ]
    found = units_of(slices, "val", Targets("multilabel", ("a", "b", "c")))
    assert found.labels.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_unit_features_are_means_in_order_of_appearance():
    names, means = pool_mean(np.float32([[1], [2], [4], [6]]), ["b", "a", "b", "a"])
    assert list(names) == ["b", "a"]
    assert means[:, 0].tolist() == [2.5, 4.0]


def test_pooling_does_not_depend_on_the_order_of_the_slices():
    rng = np.random.default_rng(0)
    values, units = rng.normal(size=(90, 4)).astype(np.float32), [f"u{i % 7}" for i in range(90)]
    order = rng.permutation(90)
    ids, pooled = pool_mean(values, units)
    shuffled_ids, shuffled = pool_mean(values[order], [units[i] for i in order])
    assert pooled.dtype == np.float32
    np.testing.assert_array_equal(pooled, shuffled[[shuffled_ids.index(unit) for unit in ids]])


def test_a_value_too_few_is_an_error():
    with pytest.raises(ValueError, match="2 values for 3 slices"):
        pool_mean(np.zeros(2), ["a", "b", "c"])


@pytest.mark.parametrize(
    ("kind", "label"),
    [("binary", "2"), ("binary", ""), ("multiclass", "3"), ("multiclass", "0;1"), ("multilabel", "7")],
)
def test_a_label_that_the_models_do_not_know_is_refused(kind, label):
    names = ("0", "1") if kind == "binary" else ("a", "b", "c")
    slices = [{"unit": "s1", "patient": "p1", "label": label, "split": "test"}]
    assert units_of(slices, "val", Targets(kind, names)).ids == []
    with pytest.raises(LabelError, match=f"labels of test units among 0, 1.*found {label!r}"):
        units_of(slices, "test", Targets(kind, names))
