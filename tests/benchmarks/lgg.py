"""A workspace of real scans for the benchmarks that want one: FLAIR of the LGG patients, labels of slices.

    python -m tests.benchmarks.lgg FOLDER [--weights squeezenet1_1.safetensors] [--name torchvision/squeezenet1_1]
        [--set finetune.phases.1.learning_rate=5.0e-4 ...] [--stage prepare]

Wraps the slices of `../shared/data/lgg_flair` as DICOM in FOLDER/scans, clones this checkout's last commit to
FOLDER/project, sets what is needed there, and runs `dvc repro backbone` and the stage that is asked for. The patients
are public, so the key of their pseudonyms is too: everybody has the same units in the same folds, and results of
different days can be laid beside each other.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
KEY = hashlib.sha256(b"LGG FLAIR of TCGA: public patients").hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", default="squeezenet1_1.safetensors", help="of ../shared/weights; or `embedded`")
    parser.add_argument("--name", default="torchvision/squeezenet1_1", help="of the network, with weights of a file")
    parser.add_argument("--set", nargs="*", default=["finetune.phases.1.learning_rate=5.0e-4"], metavar="KEY=VALUE")
    parser.add_argument("--stage", default="prepare")
    args = parser.parse_args()
    folder = args.folder.resolve()
    if folder.exists() or not SHARED.is_dir():
        parser.error(f"expected a new FOLDER and the data in {SHARED}; found {folder} there or no such data")
    project, environment = folder / "project", environment_of(folder)

    def run(*command: str | Path, cwd: Path = project) -> None:
        subprocess.run([str(part) for part in command], cwd=cwd, env=environment, check=True)

    run(sys.executable, SHARED / "tools/lgg_to_dicom.py", SHARED / "data/lgg_flair", folder / "scans", cwd=ROOT)
    run("git", "clone", "--quiet", ROOT, project, cwd=ROOT)
    run(sys.executable, "-m", "pipeline.params", *of_scans(folder / "scans"), *args.set)
    if args.weights != "embedded":
        kept = project / "models/weights" / args.weights
        shutil.copy(SHARED / "weights" / args.weights, kept)
        named = [f"backbone.file=models/weights/{kept.name}", f"backbone.name={args.name}"]
        run(sys.executable, "-m", "pipeline.params", "backbone.weights=file", "backbone.options={}", *named)
    run("dvc", "repro", "backbone", args.stage)
    print(f"{project} is ready")


def environment_of(folder: Path) -> dict[str, str]:
    """That of this process, with the public key where `ingest` looks for the user's own."""
    key = folder / "config/mri-transfer/pseudonym.key"
    key.parent.mkdir(parents=True)
    key.touch(mode=0o600)
    key.write_text(f"{KEY}\n", encoding="utf-8")
    return os.environ | {"XDG_CONFIG_HOME": str(folder / "config"), "PYTHONPATH": str(folder / "project")}


def of_scans(scans: Path) -> list[str]:
    """What `data` says of these scans, as assignments."""
    return [
        f"data.dicom_dir={scans / 'dicom'}",
        f"data.labels={scans / 'labels.csv'}",
        "data.label_level=slice",
        "data.source=TCGA-LGG, FLAIR slices",
        "data.licence=Non-commercial use",
    ]


if __name__ == "__main__":
    main()
