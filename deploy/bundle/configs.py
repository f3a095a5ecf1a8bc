"""`configs/inference.json` and `configs/metadata.json` of a bundle, see MONAI's Bundle Specification.

What is the same for every release stands in the two files beside this module.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.contract import Manifest
from pipeline.errors import EngineError
from pipeline.files import read_json
from pipeline.targets import Targets

#: What the code in a bundle imports, beside MONAI, PyTorch and NumPy.
_NEEDS = ("onnxruntime", "scikit-image", "scipy", "nibabel", "pytorch-ignite")


def inference(manifest: Manifest) -> dict[str, Any]:
    """The workflow: volumes of `dataset_dir`, one in a batch, to `output_dir`/predictions.csv."""
    task = manifest.task
    workflow: dict[str, Any] = read_json(Path(__file__).with_name("inference.json"))
    workflow["network_def"] |= {
        "most_slices": manifest.graph.most_slices,
        "each_slice": task.label_level == "slice",
        "neighbours_sd": manifest.calibration.neighbours_sd,
    }
    workflow["preprocessing"]["transforms"][1] |= manifest.transform.model_dump(mode="json")
    workflow["handlers"][0] |= {
        "kind": task.kind,
        "classes": task.classes,
        "threshold": manifest.calibration.threshold,
    }
    return workflow


def metadata(manifest: Manifest) -> dict[str, Any]:
    """What the bundle is, takes and gives.

    Raises:
        EngineError: MONAI or what goes with it is not installed, so that no version can be named that runs it.
    """
    told: dict[str, Any] = read_json(Path(__file__).with_name("metadata.json"))
    named = Targets(manifest.task.kind, tuple(manifest.task.classes)).named
    ports = told["network_data_format"]
    ports["inputs"]["image"]["spatial_shape"] = [manifest.transform.size] * 2
    ports["outputs"]["pred"] |= {
        "num_channels": len(named),
        "channel_def": {str(place): name for place, name in enumerate(named)},
    }
    return {**told, **_versions(), **_about(manifest, named)}


def _versions() -> dict[str, Any]:
    return {
        "monai_version": _version("monai"),
        "pytorch_version": _version("torch"),
        "numpy_version": _version("numpy"),
        "required_packages_version": {name: _version(name) for name in _NEEDS},
    }


def _about(manifest: Manifest, named: tuple[str, ...]) -> dict[str, Any]:
    task = manifest.task
    return {
        "version": manifest.version,
        "changelog": {manifest.version: "as released"},
        "name": manifest.name,
        "task": task.target,
        "description": f"{task.target}: {', '.join(task.classes)} ({task.kind}), of {task.target_domain}. "
        "An answer for each volume by itself; which series the model was made for is not checked here.",
        "authorship": manifest.name,
        "copyright": f"weights: {manifest.backbone.licence}; data: {manifest.data['licence']}",
        "data_source": str(manifest.data["source"]),
        "image_classes": manifest.selection.domain,
        "label_classes": ", ".join(task.classes),
        "pred_classes": ", ".join(named),
        "graph_sha256": manifest.graph.sha256,
        "threshold": manifest.calibration.threshold,
    }


def _version(package: str) -> str:
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError as error:
        raise EngineError(
            f"{package}, of the version that runs the bundle", "none installed", "pip install 'mri-transfer[train]'"
        ) from error
