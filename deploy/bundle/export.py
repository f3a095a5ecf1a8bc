"""The folder of a MONAI Bundle: configs, the release's graph, the code that prepares slices, model card and licence."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from deploy.bundle import configs
from pipeline import imaging
from pipeline.contract import Manifest
from pipeline.files import write_json, write_text

#: Modules of the pipeline that a bundle carries, so that it stands by itself.
_CARRIED = (
    "errors.py",
    "targets.py",
    "imaging/prepare.py",
    "imaging/intensity.py",
    "imaging/resample.py",
    "imaging/volume.py",
    "inference/neighbours.py",
)
#: Of their imports, where each is in the bundle; the first that fits.
_MOVED = ((r"pipeline\.calibrator\b", "scripts.contract"), (r"pipeline\.(imaging\.|inference\.)?", "scripts."))

_README = """# {name} {version}

A MONAI Bundle of a release of mri-transfer. Research use only.

Run it in this folder, on a folder of NIfTI files in scanner geometry, one volume each, as dcm2niix writes them:

    python -m monai.bundle run --config_file configs/inference.json --meta_file configs/metadata.json \\
        --dataset_dir FOLDER --output_dir OUT

`OUT/predictions.csv` has a row for each {unit}; slices are prepared as the release prepares them, by the same code
(`scripts/prepare.py`). Every volume is answered by itself. A bundle takes what it is given:
which series the model was made for ({rules}) is for you to see to; `python -m pipeline.inference` of the release
checks it. `models/model.onnx` is the file of the release, without change; there is no `model.pt`, which would be a
pickle.

"""


def write(manifest: Manifest, release: Path, out: Path) -> None:
    """Write the bundle to `out`, all or nothing; equal releases give equal bytes with equal versions of MONAI.

    Args:
        manifest: of the release, which has been opened.
        release: its folder.
        out: the bundle's folder; what was there before is gone.

    Raises:
        EngineError: MONAI is not installed.
    """
    described, workflow = configs.metadata(manifest), configs.inference(manifest)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        (part / "models").mkdir(parents=True)
        shutil.copyfile(release / Path(manifest.graph.file).name, part / "models/model.onnx")
        write_json(part / "configs/metadata.json", described)
        write_json(part / "configs/inference.json", workflow)
        for path in _sources():
            write_text(part / "scripts" / path.name, _moved(path.read_text(encoding="utf-8")))
        card = (release / "model_card.md").read_text(encoding="utf-8")
        write_text(part / "docs/README.md", _readme(manifest) + card)
        write_text(part / "docs/license.txt", _licence(manifest))
        shutil.rmtree(out, ignore_errors=True)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _sources() -> list[Path]:
    own = Path(__file__).with_name("scripts")
    pipeline = Path(imaging.__file__).parent.parent
    return [*sorted(own.glob("*.py")), *(pipeline / name for name in _CARRIED)]


def _moved(source: str) -> str:
    """The module, importing from the bundle what it imports from the pipeline."""
    for pattern, place in _MOVED:
        source = re.sub(rf"^(from|import) {pattern}", rf"\1 {place}", source, flags=re.MULTILINE)
    return source


def _readme(manifest: Manifest) -> str:
    unit = "slice" if manifest.task.label_level == "slice" else "volume"
    rules = ", ".join(manifest.selection.rules)
    return _README.format(name=manifest.name, version=manifest.version, unit=unit, rules=rules)


def _licence(manifest: Manifest) -> str:
    terms = [f"Weights: {manifest.backbone.licence}", f"Data: {manifest.data['licence']} ({manifest.data['source']})"]
    if manifest.backbone.restriction:
        terms.append(manifest.backbone.restriction)
    return "\n".join([*terms, "Research use only."]) + "\n"
