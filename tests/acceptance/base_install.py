"""The base install, as a hospital's box gets it: `pip install .` in a clean environment, and a release run with it.

    python -m tests.acceptance.base_install RELEASE DICOM_DIR [--python PYTHON]

Makes a virtual environment in a temporary folder, installs this checkout there with the versions of constraints.txt and
without any extra, sees that no training library came along, and runs the release on the scans with it. Prints the
packages that take the room, the size of the whole, and the predictions.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
#: What a box must do without.
TRAINING = {"torch", "torchvision", "monai", "pytorch-ignite", "timm", "dvc", "prefect", "nibabel", "nilearn", "onnx"}


def closure(requirements: Iterable[str], extra: str = "") -> dict[str, Distribution]:
    """The distributions that these need, and what they need in turn, of those installed here.

    Args:
        requirements: by PEP 508, of a project.
        extra: of the project, asked for with it.
    """
    found: dict[str, Distribution] = {}
    waiting = list(_asked(requirements, extra))
    while waiting:
        name = canonicalize_name(waiting.pop().name)
        if name not in found:
            found[name] = distribution(name)
            waiting += _asked(found[name].requires or [], "")
    return found


def _asked(requirements: Iterable[str], extra: str) -> Iterator[Requirement]:
    for wanted in map(Requirement, requirements):
        if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
            yield wanted


def entries(installed: Distribution) -> Iterator[Path]:
    """The files and folders right below site-packages that are a distribution's."""
    for first in {file.parts[0] for file in installed.files or [] if file.parts[0] != ".."}:
        yield Path(str(installed.locate_file(first)))


def size(paths: Iterable[Path]) -> int:
    """Bytes of files, and of what lies below folders; compiled Python does not count."""
    files = (file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]))
    return sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".pyc")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", type=Path)
    parser.add_argument("dicom_dir", type=Path)
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the new environment")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "venv/bin/python"
        subprocess.run([asked.python, "-m", "venv", python.parents[1]], check=True)
        before = installed(python)
        install = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-c",
            ROOT / "constraints.txt",
            ROOT,
        ]
        subprocess.run([python, *install], check=True)
        sizes = {name: bytes_ for name, bytes_ in installed(python).items() if name not in before}
        for name, taken in sorted(sizes.items(), key=lambda item: -item[1])[:12]:
            print(f"{taken / 1e6:8.1f} MB  {name}")
        print(f"{sum(sizes.values()) / 1e6:8.1f} MB  {len(sizes)} packages in all", flush=True)
        if too_many := TRAINING & sizes.keys():
            print(f"a base install must not bring {', '.join(sorted(too_many))}")
            return 1
        command = [python, "-m", "pipeline.inference", asked.release.resolve(), asked.dicom_dir.resolve()]
        return subprocess.run(command, cwd=folder, check=False).returncode


def installed(python: Path) -> dict[str, int]:
    """Bytes of each package in an environment, by its canonical name."""
    program = (
        "import importlib.metadata as m\n"
        "for d in m.distributions():\n"
        "    s = sum(p.stat().st_size for f in d.files or [] if (p := f.locate()).is_file() and p.suffix != '.pyc')\n"
        "    print(d.metadata['Name'], s)"
    )
    done = subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=True)
    pairs = (line.rpartition(" ") for line in done.stdout.splitlines())
    return {canonicalize_name(name): int(taken) for name, _, taken in pairs}


if __name__ == "__main__":
    sys.exit(main())
