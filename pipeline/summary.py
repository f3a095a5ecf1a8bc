"""The headline of a finished run: where the report and the release are, and the figures one asks for first.

`python -m pipeline.summary` prints it for the project in the current directory.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline import contract
from pipeline.errors import DataError, PipelineError
from pipeline.files import read_json

#: The three models that are compared, with what each is.
MODELS = {"finetuned": "fine-tuned", "probe": "probe on frozen features", "scratch": "from scratch, no transfer"}


def rows(root: Path) -> list[tuple[str, str]]:
    """Name and value of each headline figure of the project in `root`, read from `reports/` and `models/release/`.

    A figure that is undefined says so; what later stages did not come to write says that it is not there.

    Raises:
        DataError: `reports/metrics.json` is not there.
    """
    path = root / "reports/metrics.json"
    if not path.is_file():
        raise DataError(f"metrics in {path}", "no such file", "Run `dvc repro` in the project's folder first.")
    return [*figures(read_json(path)), ("accepted", _acceptance(root)), *_release(root)]


def figures(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of each headline figure in the content of a `reports/metrics.json`."""
    test = metrics["test"]
    return [
        ("test side", f"{test['patients']} patients, {test['units']} units, {_classes(test)}"),
        *((f"AUROC, {what}", _interval(metrics[model]["auroc"])) for model, what in MODELS.items()),
        ("transfer", _transfer(metrics["transfer"])),
        ("sensitivity", _interval(metrics["operating_point"]["sensitivity"])),
        ("specificity", _interval(metrics["operating_point"]["specificity"])),
        *_threshold(metrics["operating_point"]),
        ("Brier score", _interval(metrics["calibration"]["brier"])),
    ]


def _classes(test: Mapping[str, Any]) -> str:
    """How many test units are positive, or of each of several classes."""
    if "classes" not in test:
        return f"{test['positives']} positive"
    return ", ".join(f"{count} with {name}" for name, count in test["classes"].items())


def _threshold(point: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The threshold, that of each class, or nothing where the most probable class is called."""
    found = point.get("threshold", {})
    if isinstance(found, Mapping):
        return [(f"threshold, {name}", _number(value)) for name, value in found.items()]
    return [("threshold", _number(found))]


def markdown(root: Path) -> str:
    """The headline as a Markdown table; it holds no patient identifier.

    Raises:
        DataError: `reports/metrics.json` is not there.
    """
    return "\n".join(["| figure | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows(root))])


def show(root: Path, console: Console) -> None:
    """Print the headline, and where to go on from it."""
    table = Table(title="Result", title_justify="left", show_header=False)
    for name, value in rows(root):
        table.add_row(name, value)
    console.print(table)
    release = root / "models/release"
    for what, path in (("Report", root / "reports/report.html"), ("Release", release)):
        there = path.exists() and (path != release or _missed(root) == [])
        console.print(f"{what}: {path if there else 'not there'}", soft_wrap=True, markup=False)


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _interval(figure: Mapping[str, Any]) -> str:
    """A figure with its confidence interval, such as `0.912 (0.842 to 0.961)`."""
    if figure["value"] is None:
        return "undefined"
    return f"{_number(figure['value'])} ({_number(figure['low'])} to {_number(figure['high'])})"


def _transfer(transfer: Mapping[str, Any]) -> str:
    """The verdict, and the difference in AUROC with its interval and signs."""
    if transfer["verdict"] is None:
        return f"undefined: {transfer['reason']}"
    difference, low, high = (f"{transfer[key]:+.3f}" for key in ("difference", "low", "high"))
    less = "; the control took less work" if transfer.get("budget", {}).get("control_had_less") else ""
    return f"{transfer['verdict']}: AUROC {difference} ({low} to {high}) against scratch{less}"


def _missed(root: Path) -> list[str] | None:
    """The criteria that the model missed and nobody waived; None when it was not judged."""
    criteria = _criteria(root)
    if criteria is None:
        return None
    return [entry["metric"] for entry in criteria if not entry["passed"] and not entry.get("waived")]


def _criteria(root: Path) -> list[dict[str, Any]] | None:
    path = root / "reports/acceptance.json"
    return list(read_json(path)["criteria"]) if path.is_file() else None


def _acceptance(root: Path) -> str:
    missed, criteria = _missed(root), _criteria(root)
    if missed is None or criteria is None:
        return "not judged"
    if missed:
        return f"NO, missed: {', '.join(missed)}"
    waived = [
        f"{entry['metric']} missed, waived by {entry['waiver']['by']}" for entry in criteria if not entry["passed"]
    ]
    return f"yes, but {'; '.join(waived)}" if waived else "yes, every criterion met"


def _release(root: Path) -> list[tuple[str, str]]:
    """Engines and signature of the release; that of an earlier, accepted model is not this model's."""
    path = root / "models/release/manifest.json"
    if _missed(root) != [] or not path.is_file():
        return [("release", "none")]
    manifest = contract.load(path.parent)
    engines = [_words(engine) for engine in manifest.engines]
    return [("engine", "; ".join(engines) or "none"), ("signature", manifest.signature)]


def _words(engine: contract.Engine) -> str:
    made = engine.fingerprint
    return f"{made.builder} for {engine.built_for} in {made.precision}, {engine.status}"


def main() -> int:
    """Print the headline for the project in the current directory; exit 1 when there is none."""
    try:
        show(Path.cwd(), Console())
    except PipelineError as error:
        Console(stderr=True, soft_wrap=True).print(f"{type(error).__name__}: {error}", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
