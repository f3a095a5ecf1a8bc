"""The house as `docs/architecture.md` draws it: stages, artefacts, sizes, and what no file may hold."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
DAGS = ("dvc.yaml", "data/demo/dvc.yaml", "data/own/dvc.yaml")
#: Stages without parameters of their own.
NO_SECTION = {"reference", "sources"}
SOURCES = sorted(path for folder in ("pipeline", "flows", "deploy") for path in (ROOT / folder).rglob("*.py"))
MAX_FILE_LINES = 250
MAX_FUNCTION_LINES = 40
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}

#: Folders of one machine, and addresses of package indexes (written so that this file does not hold them itself).
FORBIDDEN = re.compile(
    r"(?<![\w.])/(?:work|root|home|Users)/\w"
    r"|(?:-|_)index-url|extra-" + r"index|find-" + r"links|PIP_" + r"[A-Z]+|(?:pypi\.|python" + r"hosted)"
)


def _stages() -> dict[str, dict[str, Any]]:
    """Every stage of the DAG."""
    return {name: stage for file in DAGS for name, stage in yaml.safe_load((ROOT / file).read_text())["stages"].items()}


def _modules() -> set[str]:
    return {path.stem for path in (ROOT / "pipeline/stages").glob("*.py")} - {"__init__", "runner"}


def _outputs(stage: dict[str, Any]) -> set[str]:
    """The paths that a stage writes, whether DVC caches them or not."""
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in stage.get(kind, [])]
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


def _written(path: str, outputs: set[str]) -> bool:
    """Whether `path` is an output, lies in one, or is a folder of them; `<series>` stands for any name."""
    pattern = re.sub(r"<\w+>", "*", path).rstrip("/")
    below = any(fnmatch(output, f"{pattern}/*") for output in outputs)
    return below or any(fnmatch(pattern, output) or fnmatch(pattern, f"{output}/*") for output in outputs)


def _document() -> str:
    return (ROOT / "docs/architecture.md").read_text()


def _artefacts() -> list[tuple[list[str], list[str]]]:
    """Paths and writing stages of each row of the artefacts' table."""
    rows = re.findall(r"^\| (`[^|]+) \| ([a-z, ]+) \|", _document(), re.MULTILINE)
    return [(re.findall(r"`([^`]+)`", paths), stages.split(", ")) for paths, stages in rows]


def _tracked() -> Iterator[Path]:
    """Files that git has or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            yield ROOT / name


def test_stage_is_module_is_section() -> None:
    sections = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert set(_stages()) == _modules()
    assert _modules() - NO_SECTION <= set(sections)


@pytest.mark.parametrize("name", sorted(_modules()))
def test_stage_runs_its_module_and_depends_on_it(name: str) -> None:
    stage = _stages()[name]
    # `exec`, so that the stage is DVC's own child under every shell and ends when DVC is killed.
    assert stage["cmd"] == f"exec python -m pipeline.stages.{name}"
    assert any(fnmatch(f"pipeline/stages/{name}.py", pattern) for dep in stage["deps"] for pattern in (dep, f"{dep}/*"))
    assert name in NO_SECTION | {param.split(".")[0] for param in stage["params"] if isinstance(param, str)}


#: They read settings, speak, write files and say who made what: a stage's results do not depend on them.
PLUMBING = {
    *("cluster", "code", "config", "contract", "data_config", "errors", "files", "fingerprint", "origins", "parallel"),
    *("parent", "processes", "progress", "strict", "training_config", "typed", "typed_yaml", "validation_config"),
    *("stages.runner", "clinical.report.environment"),
}
#: Where weights come from; later stages build the same architecture empty.
WEIGHTS = {"transfer.embedded", "transfer.hub", "transfer.licence", "transfer.resolution", "transfer.weights"}
#: Stages that say how classes are named, not how probable they are.
UNCALIBRATED = {"ingest", "split", "prepare", "finetune", "scratch"}


@functools.cache
def _imports() -> grimp.ImportGraph:
    return grimp.build_graph("pipeline", cache_dir=None)


@pytest.mark.parametrize("name", sorted(_modules() - {"demo", "sources"}))
def test_stage_depends_on_all_code_that_decides_its_results(name: str) -> None:
    graph, deps = _imports(), _stages()[name]["deps"]
    left = PLUMBING | (WEIGHTS if name not in {"backbone", "features"} else set())
    left |= {"calibrator"} if name in UNCALIBRATED else set()
    found, to_see = set[str](), [f"pipeline.stages.{name}"]
    while to_see:
        module = to_see.pop()
        if module not in found and module.removeprefix("pipeline.") not in left:
            found.add(module)
            to_see += graph.find_modules_directly_imported_by(module)
    files = {f"{module.replace('.', '/')}.py" for module in found if not graph.find_children(module)}
    assert {file for file in files if not any(file == dep or file.startswith(f"{dep}/") for dep in deps)} == set()


def test_no_artefact_is_written_twice() -> None:
    outputs = [output for stage in _stages().values() for output in _outputs(stage)]
    assert len(outputs) == len(set(outputs))


@pytest.mark.parametrize(("paths", "stages"), _artefacts(), ids=str)
def test_artefacts_are_written_by_the_stages_that_the_map_names(paths: list[str], stages: list[str]) -> None:
    known = _stages()
    for stage in stages:
        assert any(_written(path, _outputs(known[stage])) for path in paths), stage
    for path in paths:
        assert any(_written(path, _outputs(known[stage])) for stage in stages), path


def test_every_output_is_on_the_map() -> None:
    mapped = {re.sub(r"<\w+>", "*", path).rstrip("/") for paths, _ in _artefacts() for path in paths}
    for stage in _stages().values():
        for output in _outputs(stage):
            assert any(
                fnmatch(output, path) or fnmatch(output, f"{path}/*") or fnmatch(path, f"{output}/*") for path in mapped
            ), output


def test_every_path_that_the_map_names_is_there_or_is_written() -> None:
    outputs = set().union(*(_outputs(stage) for stage in _stages().values()))
    tops = "|".join(["pipeline", "flows", "deploy", "tests", "docs", "data", "models", "reports"])
    names = re.findall(rf"`((?:{tops})/[\w<>*./-]*)`", _document())
    assert names
    for name in names:
        assert list(ROOT.glob(re.sub(r"<\w+>", "*", name))) or _written(name, outputs), name


def test_every_test_that_the_table_of_transfer_names_is_there() -> None:
    table = (ROOT / "docs/transfer.md").read_text()
    rows = re.findall(r"^\| (T\d+) \|.*\|$", table, re.MULTILINE)
    assert rows == [f"T{number}" for number in [*range(1, 15), 22]]
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", table)
    for file, test in named:
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text(), re.MULTILINE), f"{file}::{test}"
    assert len(named) >= len(rows)


def test_every_package_is_on_the_map() -> None:
    packages = {path.parent.name for path in ROOT.glob("pipeline/*/__init__.py")}
    assert [name for name in sorted(packages) if not re.search(rf"\b{name}\b", _document())] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_and_its_functions_are_of_a_size_to_be_read(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE_LINES
    assert path.stem not in VAGUE
    functions = [
        node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions if f.end_lineno - f.lineno >= MAX_FUNCTION_LINES}
    assert long == {}


def test_no_file_holds_a_path_of_one_machine_or_an_index_address() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in _tracked()
        if (match := FORBIDDEN.search(path.read_bytes().decode(errors="ignore")))
    ]
    assert found == []


def test_constraints_are_names_and_versions_only() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9_.\-]+==[A-Za-z0-9.!+]+", line), line
