"""DeLong against the definition, a case by hand, and pROC's own data where that package is installed."""

from __future__ import annotations

import os
import struct
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from pipeline.clinical import delong, metrics
from pipeline.clinical.paired import compare
from pipeline.clinical.ranking import ranked
from pipeline.clinical.resampling import draw
from tests.programs import missing

#: Debian's r-cran-proc, or a folder that its package was unpacked to.
PROC = Path(os.environ.get("PROC_LIBRARY", "/usr/lib/R/site-library/pROC")) / "data"


def each_own(n: int) -> Any:
    return draw([f"p{i}" for i in range(n)], 100, 0.95, 1)


def slow(labels: np.ndarray, scores: np.ndarray) -> tuple[list[float], list[float]]:
    """The structural components by the definition, pair by pair."""

    def wins(positive: float, negative: float) -> float:
        return 1.0 if positive > negative else 0.5 if positive == negative else 0.0

    sick, well = scores[labels == 1], scores[labels == 0]
    return (
        [sum(wins(one, other) for other in well) / len(well) for one in sick],
        [sum(wins(one, other) for one in sick) / len(sick) for other in well],
    )


@pytest.mark.parametrize("seed", range(5))
def test_components_and_covariance_are_those_of_the_definition_ties_too(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(70) % 3 == 0).astype(np.int64)
    one, other = (rng.integers(0, 8, 70) + 2.0 * labels for _ in range(2))
    found = [delong.components(labels, scores) for scores in (one, other)]
    expected = [slow(labels, scores) for scores in (one, other)]
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine.positive, theirs[0], atol=1e-12)
        np.testing.assert_allclose(mine.negative, theirs[1], atol=1e-12)
    parts = [np.cov(a, b, ddof=1) / len(a) for a, b in zip(*expected, strict=True)]
    covariances = parts[0] + parts[1]
    assert delong.covariance(found[0], found[0]) == pytest.approx(covariances[0, 0], abs=1e-14)
    assert delong.covariance(*found) == pytest.approx(covariances[0, 1], abs=1e-14)
    error = np.sqrt(covariances[0, 0] + covariances[1, 1] - 2 * covariances[0, 1])
    assert delong.difference_error(*found) == pytest.approx(error, abs=1e-12)


def test_a_case_by_hand() -> None:
    """Positives 3, 2, 1.5 and negatives 1, 2: wins 2; 1.5; 1 of 2, so components 1, .75, .5 and 1, .5; AUROC .75.

    Variances: of the positives (.0625 + 0 + .0625) / 2 = .0625, over 3; of the negatives .125, over 2. Together 1 / 12.
    """
    found = delong.components(np.array([1, 1, 1, 0, 0]), np.array([3, 2, 1.5, 1, 2]))
    assert found.positive.tolist() == pytest.approx([1, 0.75, 0.5])
    assert found.negative.tolist() == pytest.approx([1, 0.5])
    assert found.auroc == pytest.approx(0.75)
    assert delong.covariance(found, found) == pytest.approx(1 / 12)


def test_one_unit_of_a_class_has_no_variance() -> None:
    found = delong.components(np.array([1, 0, 0]), np.array([1.0, 0, 2]))
    assert np.isnan(delong.covariance(found, found))


def test_the_figure_has_delongs_interval_on_the_logit() -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 2
    scores = rng.normal(size=60) + labels
    found = metrics.auroc(labels, scores, each_own(60))
    own = delong.components(labels, scores)
    half = norm.ppf(0.975) * np.sqrt(delong.covariance(own, own)) / (own.auroc * (1 - own.auroc))
    odds = own.auroc / (1 - own.auroc)
    assert found.method == "DeLong, logit"
    low, high = odds * np.exp(-half), odds * np.exp(half)
    assert (found.low, found.high) == pytest.approx((low / (1 + low), high / (1 + high)))


@pytest.fixture
def asah() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """pROC's aneurysmal subarachnoid haemorrhage: 113 patients (Turck et al. 2010, Intensive Care Med 36:107)."""
    if not (PROC / "Rdata.rdb").is_file():
        missing("pROC (r-cran-proc) is not installed, or PROC_LIBRARY does not name its folder")
    columns = rows_of_r(PROC, "aSAH")
    (codes, about) = columns["outcome"]
    assert about["levels"] == ["Good", "Poor"]
    scores = {name: np.array(columns[name]) for name in ("ndka", "s100b")}
    return np.array(codes) - 1, scores | {"wfns": np.array(columns["wfns"][0], dtype=float)}


def test_procs_example_by_delong(asah: Any) -> None:
    """`ci(roc(aSAH$outcome, aSAH$ndka))` of pROC's documentation: 0.501244999, 0.611957995, 0.722670990."""
    labels, scores = asah
    own = delong.components(labels, scores["ndka"])
    half = norm.ppf(0.975) * np.sqrt(delong.covariance(own, own))
    found = (own.auroc - half, own.auroc, own.auroc + half)
    assert len(labels) == 113
    assert found == pytest.approx((0.501244999, 0.611957995, 0.722670990), abs=1e-8)


def test_procs_paired_example(asah: Any) -> None:
    """`roc.test` of wfns and s100b in its documentation: AUROC 0.8236789 and 0.7313686, Z = 2.209, p = 0.02718."""
    labels, scores = asah
    drawn = each_own(len(labels))
    one, other = (ranked(labels, scores[name], drawn) for name in ("wfns", "s100b"))
    assert (one.areas[0], other.areas[0]) == pytest.approx((0.8236789, 0.7313686), abs=1e-7)
    test = compare(one, other)
    assert test.p_value == pytest.approx(0.02718, abs=5e-6)
    assert norm.isf(test.p_value / 2) == pytest.approx(2.209, abs=5e-4)


def rows_of_r(folder: Path, name: str) -> dict[str, Any]:
    """The columns of a data frame in an R package's lazy-load database (R Internals, sections 1.8 and 1.11)."""
    index = _unserialized(zlib.decompress((folder / "Rdata.rdx").read_bytes(), 47))
    variables, about = dict(zip(index[1]["names"], index[0], strict=True))["variables"]
    start, length = dict(zip(about["names"], variables, strict=True))[name]
    frame = _unserialized(zlib.decompress((folder / "Rdata.rdb").read_bytes()[start + 4 : start + length]))
    return dict(zip(frame[1]["names"], frame[0], strict=True))


def _unserialized(raw: bytes) -> Any:
    """The first object of R's binary (XDR) serialization: (values, attributes), or values alone."""
    version = struct.unpack_from(">i", raw, 2)[0]
    place = 14 if version == 2 else 18 + struct.unpack_from(">i", raw, 14)[0]
    seen: list[Any] = []

    def number() -> int:
        nonlocal place
        place += 4
        return int(struct.unpack_from(">i", raw, place - 4)[0])

    def item() -> Any:
        nonlocal place
        flags = number()
        kind = flags & 255
        if kind == 254:  # nothing
            return None
        if kind == 255:  # a symbol that was there before
            return seen[(flags >> 8 or number()) - 1]
        if kind == 1:  # a symbol
            seen.append(item())
            return seen[-1]
        if kind == 2:  # a list of attributes
            key = item() if flags & 0x400 else None
            return [(key, item()), *(item() or [])]
        count = number()
        if kind == 9:  # a string
            place += max(count, 0)
            return raw[place - count : place].decode("latin1") if count >= 0 else None
        if kind == 14:
            place += 8 * count
            values = list(struct.unpack_from(f">{count}d", raw, place - 8 * count))
        else:
            values = [number() if kind in (10, 13) else item() for _ in range(count)]
        return (values, dict(item())) if flags & 0x200 else values

    return item()


def test_levels_of_scores_do_not_matter_but_their_order() -> None:
    rng = np.random.default_rng(3)
    labels, scores = np.arange(40) % 2, rng.normal(size=40)
    found = [delong.components(labels, change(scores)).positive for change in (np.exp, np.arctan, lambda x: x)]
    for one, other in pairwise(found):
        np.testing.assert_array_equal(one, other)
