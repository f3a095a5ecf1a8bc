"""A whole reports/metrics.json with its tables, of plausible numbers, as later stages of the figures hold it."""

from __future__ import annotations

from typing import Any

import numpy as np


def e(value: float, half: float, **more: Any) -> dict[str, Any]:
    """A figure with an interval."""
    return {"value": value, "low": round(max(-1.0, value - half), 6), "high": round(min(1.0, value + half), 6)} | more


NONE = {"value": None, "low": None, "high": None, "reason": "no positive unit"}


def _rung(name: str, milliseconds: float | None, **more: Any) -> dict[str, Any]:
    runtime, precision = name.split()
    none = {"backend": None, "refused": None, "not_run": None}
    return none | {"runtime": runtime, "precision": precision, "milliseconds": milliseconds} | more


def _change(largest: float, flips: int = 0, outside: int = 0, change: dict[str, Any] | None = None) -> dict[str, Any]:
    same = {"value": 0.0, "low": None, "high": None, "reason": "it does not vary between the patients"}
    counts = {"flips": flips, "flips_outside": outside}
    return {"largest": largest, "mean": largest / 9, "auroc_change": change or same, **counts}


LADDER: dict[str, Any] = {
    "runs": {"runtime": "openvino", "precision": "int8"},
    "asked": {"band": 0.02, "auroc_change": 0.01},
    "validation": {"units": 34, "patients": 34, "slices_of_a_call": 20, "confidence": 0.95},
    "machine": "Linux on x86_64, Processor <Example>; no GPU",
    "rungs": [
        _rung("onnxruntime fp32", 61.4, **_change(0.0)),
        _rung("openvino bf16", 11.8, **_change(0.0031, change=e(-0.0004, 0.0011))),
        _rung("onnxruntime fp16", 60.1, **_change(0.0008, change={"value": -0.00003, "low": -0.00004, "high": 0.0001})),
        _rung("openvino fp16", None, not_run="layers that run in f32, where fp16 on this processor is asked for"),
        _rung(
            "onnxruntime int8",
            20.2,
            **_change(0.0612, 2, 1, e(-0.0021, 0.004)),
            refused="1 decision flips farther than 0.02 from the threshold",
        ),
        _rung("openvino int8", 6.2, **_change(0.0187, 1, 0, e(-0.0012, 0.003))),
    ],
    "int8": {"layers": 21, "left_in_float": [{"layer": "node_conv2d", "error": 0.21}], "tries": []},
}
#: Of test patients.
CONFIRMED = {
    "runtime": "openvino",
    "precision": "int8",
    "backend": "OpenVINO 2026.4.1, CPU, int8",
    "units": 50,
    **_change(0.0203, 1, 0, e(-0.0016, 0.0035)),
    "confirmed": True,
    "refused": None,
}


def figures() -> dict[str, Any]:
    """What is added to today's figures."""
    return {
        "precision": CONFIRMED,
        "prevalence": 0.48,
        "operating_point": {
            "ppv": e(0.78, 0.12),
            "npv": e(0.88, 0.1),
            "likelihood_ratio_positive": {"value": 3.9, "low": 2.2, "high": 7.0},
            "likelihood_ratio_negative": {"value": 0.14, "low": 0.06, "high": 0.34},
            "at_prevalence": {
                "0.01": _at(0.01, 0.9, 0.77, e(0.038, 0.015), e(0.9987, 0.0009)),
                "0.1": _at(0.1, 0.9, 0.77, e(0.30, 0.09), e(0.986, 0.012)),
                "0.3": _at(0.3, 0.9, 0.77, e(0.63, 0.1), e(0.947, 0.04)),
            },
        },
        "calibration": {
            "brier": e(0.121, 0.03),
            "brier_reliability": 0.012,
            "brier_resolution": 0.141,
            "brier_uncertainty": 0.25,
            "ece": e(0.061, 0.03),
            "slope": {"value": 0.92, "low": 0.55, "high": 1.3},
            "intercept": {"value": -0.08, "low": -0.6, "high": 0.45},
            "temperature": 1.2,
        },
        "usefulness": {"net_benefit": e(0.31, 0.08), "treat_all": 0.03, "treat_none": 0.0, "threshold_odds": 1.08},
        "comparison": {
            "scratch": _versus(0.74, 0.11, 0.002, 14, 4, 0.031),
            "probe": _versus(0.86, 0.04, 0.21, 8, 5, 0.58),
            "production": _versus(0.83, 0.05, 0.14, 9, 6, 0.61),
        },
        "levels": {
            "study": {"auroc": e(0.91, 0.07), "sensitivity": e(0.92, 0.09), "specificity": e(0.75, 0.13)},
            "patient": {"reason": "a whole whose parts are of several classes has no single one"},
        },
        "sample_size": {
            "auroc": {"width": 0.13, "wanted": 0.1, "patients": 30, "patients_needed": 51, "more": 21},
            "sensitivity": {"width": 0.22, "wanted": 0.1, "patients": 30, "patients_needed": 146, "more": 116},
            "specificity": {"width": None, "wanted": 0.1, "patients": 30, "reason": "no interval"},
        },
        "subgroups": _subgroups(),
        "leakage": {
            "patients": 168,
            "slices": 3360,
            "plain": 12,
            "exact": 0,
            "near": 2,
            "findings": [
                {"patients": ["P-0a1b2c", "P-9f8e7d"], "sides": ["train", "test"], "slices": 2, "likeness": 0.981}
            ],
        },
        "flow": {
            "series_found": 174,
            "series_refused": 4,
            "series_ingested": 170,
            "files_refused": 0,
            "series_without_label": 2,
            "series_labelled": 168,
            "volumes_ingested": 173,
            "patients_labelled": 168,
            "reasons": {"missing_slice": 3, "not_mr": 1},
            "sides": {side: {"patients": n, "series": n} for side, n in (("train", 84), ("val", 34), ("test", 50))},
        },
        "test_set": {
            "opened": 3,
            "models": 2,
            "threshold_moved": False,
            "model_sha256": "0" * 64,
            "calibration_sha256": "2" * 64,
            "split_sha256": "1" * 64,
        },
        "explanation": {
            "method": "Grad-CAM",
            "pointing_game": e(0.62, 0.11),
            "chance": e(0.08, 0.02),
            "gain": e(0.54, 0.1),
            "slices": 211,
        },
    }


def _at(prevalence: float, sensitivity: float, specificity: float, ppv: Any, npv: Any) -> dict[str, Any]:
    found, cleared = 1000 * prevalence * sensitivity, 1000 * (1 - prevalence) * specificity
    counts = {"found": found, "missed": 1000 * prevalence - found, "cleared": cleared}
    return {"ppv": ppv, "npv": npv, "per_1000": {**counts, "false_alarms": 1000 * (1 - prevalence) - cleared}}


def _versus(auroc: float, gain: float, p: float, this: int, other: int, mcnemar: float) -> dict[str, Any]:
    discordant = {"only_this": this, "only_other": other, "p_value": mcnemar, "method": "exact"}
    paired = {"auroc": e(auroc, 0.09), "auroc_difference": e(gain, 0.07), "p_value": p, "method": "DeLong, paired"}
    return {**paired, "mcnemar": discordant}


def _subgroups() -> list[dict[str, Any]]:
    rows = [
        ("sex", "F", 26, 0.91, 0.93, 0.8, False, None),
        ("sex", "M", 24, 0.88, 0.87, 0.74, False, None),
        ("age_band", "under 40", 9, 0.93, 0.95, 0.82, True, None),
        ("age_band", "40 to 59", 22, 0.9, 0.9, 0.78, False, None),
        ("age_band", "60 and over", 19, 0.86, 0.84, 0.73, False, None),
        ("vendor", "SIEMENS & <Co>", 34, 0.92, 0.94, 0.8, False, None),
        ("vendor", "Philips", 16, 0.76, 0.55, 0.71, False, "its sensitivity lies below the criterion (0.31 to 0.77)"),
        ("site", "north", 46, 0.9, 0.9, 0.78, False, None),
        ("site", "south", 4, None, 1.0, None, True, None),
    ]  # fmt: skip
    found = []
    for attribute, group, patients, auroc, sensitivity, specificity, small, warning in rows:
        half = 0.6 / np.sqrt(patients)
        shares = {"auroc": auroc, "sensitivity": sensitivity, "specificity": specificity}
        measured = {key: NONE if value is None else e(value, float(half)) for key, value in shares.items()}
        gap = NONE if auroc is None else e(round(auroc - 0.89, 3), float(half))
        counts = {"units": patients, "patients": patients, "positive": patients // 2}
        row = {"attribute": attribute, "group": group, **counts, "small": small, **measured}
        found.append({**row, "gap": gap, "warning": warning})
    return found


def tables() -> dict[str, list[dict[str, str]]]:
    """The tables that the report draws."""
    grid = np.linspace(0.01, 0.99, 99)
    curve = []
    for t in grid:
        everyone = 0.48 - 0.52 * t / (1 - t)
        model = max(0.45 - 0.10 * t / (1 - t) ** 0.8, everyone - 0.001, -0.02) if t < 0.9 else -0.005
        row = {"threshold": t, "model": model, "low": model - 0.07, "high": model + 0.07, "treat_all": everyone}
        curve.append({key: f"{value:.6f}" for key, value in {**row, "treat_none": 0.0}.items()})
    recalls = []
    for r in np.linspace(0.01, 1, 100):
        row = {"finetuned": 1 - 0.45 * r**4, "probe": 1 - 0.5 * r**2.5, "scratch": 1 - 0.52 * r**1.2}
        recalls.append({"recall": f"{r:.2f}", **{name: f"{value:.6f}" for name, value in row.items()}})
    return {"decision_curve": curve, "precision_recall": recalls}


def merged(measured: dict[str, Any]) -> dict[str, Any]:
    """Those of an evaluation with these added, section by section."""
    added = figures()
    whole = {**measured, **added}
    for section in ("operating_point", "finetuned"):
        whole[section] = {**measured[section], **added.get(section, {})}
    for model, value in (("finetuned", 0.91), ("probe", 0.87), ("scratch", 0.78)):
        whole[model] = {**whole[model], "average_precision": e(value, 0.06)}
    return whole
