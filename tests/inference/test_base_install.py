"""A base install runs a release, one with `[box]` a box: the wheel of this checkout, what it says it needs, no more.

The packages are those of this environment, shown to a Python that sees no others; to fetch them anew takes minutes and
is `python -m tests.acceptance.base_install`.
"""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from tests.acceptance.base_install import TRAINING, closure, entries, size

#: Megabytes, by far the most of them of OpenVINO, SciPy and ONNX Runtime.
MOST = 1000
ALL_OF_THE_BOX = """
import deploy.box, importlib, pkgutil
for each in pkgutil.walk_packages(deploy.box.__path__, "deploy.box."):
    importlib.import_module(each.name)
print(deploy.box.service.__file__, deploy.box.web.app.__file__)
"""


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory) -> Path:
    """As `pip install .` would build it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    checkout = folder / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (root / name).is_file() and name.startswith(("pipeline/", "deploy/", "flows/", "pyproject.toml", "README")):
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (checkout / name).write_bytes((root / name).read_bytes())
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=checkout, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


def install(wheel: Path, site: Path, extra: str = "") -> set[str]:
    """Fill a site-packages as `pip install .[extra]` would; the packages beside the wheel's content."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (metadata,) = site.glob("*.dist-info/METADATA")
    found = closure(message_from_bytes(metadata.read_bytes()).get_all("Requires-Dist", []), extra)
    for installed in found.values():
        for path in entries(installed):
            if not (site / path.name).exists():
                (site / path.name).symlink_to(path)
    return set(found)


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory) -> tuple[Path, set[str]]:
    """A site-packages without any extra, and the packages in it."""
    site = tmp_path_factory.mktemp("base") / "site"
    return site, install(wheel, site)


def python(site: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program by a Python that sees its own library and this site-packages."""
    begin = f"import sys; sys.path.append({str(site)!r}); sys.argv[0] = 'base';"
    command = [sys.executable, "-I", "-S", "-c", begin + program, *arguments]
    return subprocess.run(command, cwd=site.parent, capture_output=True, text=True, check=False)


def test_no_training_library_is_needed_and_the_size_is_bounded(base: tuple[Path, set[str]]) -> None:
    site, needed = base
    assert {"numpy", "pydicom", "onnxruntime"} <= needed
    assert not needed & TRAINING
    megabytes = size(path.resolve() for path in site.iterdir()) / 1e6
    print(f"{megabytes:.0f} MB, {len(needed)} packages")
    assert 100 < megabytes < MOST
    assert "No module named 'torch'" in python(site, "import torch").stderr


def test_it_runs_a_release_from_dicom_to_csv(base, make_release, write_series, tmp_path) -> None:
    site, _ = base
    release, scans = make_release(tmp_path / "release"), tmp_path / "scans"
    series = write_series(scans, 1)
    program = "from pipeline.inference.__main__ import main; sys.exit(main(sys.argv[1:]))"
    done = python(site, program, str(release), str(scans))
    assert done.returncode == 0, done.stderr
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert (row["SeriesInstanceUID"], row["status"]) == (series, "ok")
    where = python(site, "import pipeline, deploy.triton; print(pipeline.__file__)").stdout
    assert Path(where.strip()).is_relative_to(site)


def test_a_box_needs_no_training_library_and_has_what_its_pages_show(root: Path, wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    needed = install(wheel, site, "box")
    assert {"highdicom", "pynetdicom", "starlette", "uvicorn"} <= needed
    assert not needed & TRAINING
    done = python(site, ALL_OF_THE_BOX)
    assert done.returncode == 0, done.stderr
    assert all(Path(each).is_relative_to(site) for each in done.stdout.split())
    shown = {path.relative_to(root) for path in (root / "deploy/box/web").iterdir() if path.suffix not in (".py", "")}
    assert {".j2", ".css", ".js", ".svg"} == {path.suffix for path in shown}
    assert all((site / path).is_file() for path in shown)
