"""`configs/inference.json` and `configs/metadata.json` of a bundle, see MONAI's Bundle Specification."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipeline.contract import Manifest
from pipeline.errors import EngineError
from pipeline.targets import Targets

_SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
#: What the code in a bundle imports, beside MONAI, PyTorch and NumPy.
_NEEDS = ("onnxruntime", "scikit-image", "nibabel", "pytorch-ignite")


def inference(manifest: Manifest) -> dict[str, Any]:
    """The workflow: volumes of `dataset_dir` to `output_dir`/predictions.csv."""
    task, transform = manifest.task, manifest.transform.model_dump(mode="json")
    target = "_target_"
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/data'",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cpu')",
        "network_def": {
            target: "scripts.network.ReleaseGraph",
            "path": "$@bundle_root + '/models/model.onnx'",
            "most_slices": manifest.graph.most_slices,
            "each_slice": task.label_level == "slice",
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            target: "Compose",
            "transforms": [
                {target: "LoadImaged", "keys": "image", "image_only": True},
                {target: "scripts.volumes.PrepareSlicesd", **transform},
            ],
        },
        "dataset": {
            target: "Dataset",
            "data": {target: "scripts.volumes.find", "folder": "@dataset_dir"},
            "transform": "@preprocessing",
        },
        # One volume in a batch: volumes have different numbers of slices.
        "dataloader": {target: "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": {target: "SimpleInferer"},
        "handlers": [
            {
                target: "scripts.answers.Predictions",
                "output_dir": "@output_dir",
                "kind": task.kind,
                "classes": task.classes,
                "threshold": manifest.calibration.threshold,
            }
        ],
        "evaluator": {
            target: "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }


def metadata(manifest: Manifest) -> dict[str, Any]:
    """What the bundle is, takes and gives.

    Raises:
        EngineError: MONAI or what goes with it is not installed, so that no version can be named that runs it.
    """
    task, size = manifest.task, manifest.transform.size
    named = Targets(task.kind, tuple(task.classes)).named
    return {
        "schema": _SCHEMA,
        "version": manifest.version,
        "changelog": {manifest.version: "as released"},
        "monai_version": _version("monai"),
        "pytorch_version": _version("torch"),
        "numpy_version": _version("numpy"),
        "required_packages_version": {name: _version(name) for name in _NEEDS},
        "name": manifest.name,
        "task": task.target,
        "description": f"{task.target}: {', '.join(task.classes)} ({task.kind}), of {task.target_domain}. "
        "An answer for each volume by itself; which series the model was made for is not checked here.",
        "authorship": manifest.name,
        "copyright": f"weights: {manifest.backbone.licence}; data: {manifest.data['licence']}",
        "data_source": str(manifest.data["source"]),
        "data_type": "nibabel",
        "image_classes": manifest.selection.domain,
        "label_classes": ", ".join(task.classes),
        "pred_classes": ", ".join(named),
        "eval_metrics": {},
        "intended_use": "Research use only. See docs/README.md.",
        "references": [],
        "supported_apps": {},
        "graph_sha256": manifest.graph.sha256,
        "threshold": manifest.calibration.threshold,
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": "MR",
                    # Any number of slices up to `most_slices`; MONAI's schema asks for one number.
                    "num_channels": 1,
                    "spatial_shape": [size, size],
                    "dtype": "float32",
                    "value_range": [0, 255],
                    "is_patch_data": False,
                    "channel_def": {"0": "slices of one volume, as scripts/prepare.py makes them"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "probabilities",
                    "format": "classes",
                    "num_channels": len(named),
                    "spatial_shape": [],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": {str(place): name for place, name in enumerate(named)},
                }
            },
        },
    }


def _version(package: str) -> str:
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError as error:
        raise EngineError(
            f"{package}, of the version that runs the bundle", "none installed", "pip install 'mri-transfer[train]'"
        ) from error
