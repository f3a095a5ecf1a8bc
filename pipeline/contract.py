"""The model contract, `manifest.json`: everything a box needs to reproduce preprocessing and decide."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from pipeline.calibrator import Calibration as Calibration
from pipeline.errors import ContractError
from pipeline.files import write_json
from pipeline.fingerprint import Engine as Engine
from pipeline.fingerprint import ParityCases as ParityCases
from pipeline.fingerprint import Precision as Precision
from pipeline.fingerprint import Provenance
from pipeline.origins import Pretrained
from pipeline.strict import Strict

#: Raised when a box must be newer to understand a manifest; 2: graphs answer by themselves, see `Graph`.
SCHEMA_VERSION: Literal[2] = 2

LabelLevel = Literal["patient", "study", "series", "slice"]
Pooling = Literal["mean", "max", "attention"]
TaskKind = Literal["binary", "multiclass", "multilabel"]
Contrast = Literal["T1", "T2", "PD", "FLAIR"]
Plane = Literal["axial", "coronal", "sagittal", "oblique"]
AcquisitionType = Literal["2D", "3D"]
Merit = Literal["most_slices", "thinnest", "latest"]
Runtime = Literal["onnxruntime", "openvino"]
Item = TypeVar("Item")
#: Those of several that are taken: nothing would be by an empty list, and None stands for all.
Choice = Annotated[list[Item], Field(min_length=1)]


class Transform(Strict):
    """From a volume in scanner geometry to the network's slices; `pipeline.imaging.prepare` carries it out."""

    size: Annotated[int, Field(ge=32, le=1024)]
    window_percentiles: tuple[float, float]
    head_margin_mm: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _rising(self) -> Transform:
        low, high = self.window_percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(f"prepare.window_percentiles must rise within 0 to 100, not {low:g}, {high:g}")
        return self


class SelectionRules(Strict):
    """Which volumes are taken; `pipeline.dicom` carries it out.

    Attributes:
        contrasts, planes, acquisition_types: None: any, and those that the header does not tell.
        min_slices: of a volume.
        best_of_study: what makes one volume better than another of its study and contrast, the weightiest first; the
            best alone is taken. None: all are.
    """

    contrasts: Choice[Contrast] | None
    planes: Choice[Plane] | None = None
    acquisition_types: Choice[AcquisitionType] | None = None
    min_slices: Annotated[int, Field(gt=0)]
    best_of_study: Choice[Merit] | None = None


class Selection(SelectionRules):
    """Which series the model was made for; others get a reason, not a number."""

    modality: Literal["MR"] = "MR"

    @property
    def domain(self) -> str:
        """The images that the model is about, such as `MRI, FLAIR, axial`."""
        kinds = (self.contrasts, self.planes, self.acquisition_types)
        return ", ".join(["MRI", *(" or ".join(kind) for kind in kinds if kind)])

    @property
    def rules(self) -> list[str]:
        """Each rule in words."""
        said = [
            "contrast " + " or ".join(self.contrasts) if self.contrasts else "any contrast",
            "plane " + " or ".join(self.planes) if self.planes else "",
            " or ".join(self.acquisition_types or []),
            f"at least {self.min_slices} slices",
            f"of each contrast in a study the best ({', '.join(self.best_of_study)})" if self.best_of_study else "",
        ]
        return [rule for rule in said if rule]


class Variant(Strict):
    """The same graph with its trunk in another precision, as validation patients allowed it."""

    precision: Precision
    file: str
    sha256: str


class Runs(Strict):
    """How a graph is run: what was the fastest that changes nothing that matters, see `pipeline.engine.ladder`.

    `int8+bf16` is the int8 graph whose layers in float run in bf16.
    """

    runtime: Runtime
    precision: Precision | Literal["int8+bf16"]


class Graph(Strict):
    """The ONNX file, fp32: prepared slices to calibrated probabilities, see `pipeline.engine.graph.ReleaseGraph`.

    Attributes:
        inputs: `slices`, uint8 (N, 1, size, size), and `membership`, float32 (B, N); N and B are free.
        outputs: float32 `probabilities` and `logits` (B, K), `slice_scores` (N, K), `embedding` (B, F), and `saliency`
            (N, K, h, w) where the network allows it; in this order.
        pooling: of the slices of a unit, in the graph.
        usual_slices, most_slices: N of most units, and at most.
        variants: of the same inputs and outputs.
    """

    file: str
    sha256: str
    opset: int
    inputs: list[str]
    outputs: list[str]
    pooling: Pooling
    usual_slices: Annotated[int, Field(gt=0)]
    most_slices: Annotated[int, Field(gt=0)]
    variants: list[Variant]

    @property
    def files(self) -> dict[Precision, tuple[str, str]]:
        """File and hash of the graph in each precision."""
        told = {each.precision: (each.file, each.sha256) for each in self.variants}
        return {"fp32": (self.file, self.sha256), **told}


class Task(Strict):
    """What was transferred, from where to where (the domains and tasks of Pan & Yang 2010, IEEE TKDE 22:1345).

    Attributes:
        source, target: the tasks.
        source_domain, target_domain: the images that each is about.
    """

    source: str
    target: str
    source_domain: str
    target_domain: str
    label_level: LabelLevel
    kind: TaskKind
    classes: Annotated[list[str], Field(min_length=2)]


class Trunk(Strict):
    """The fine-tuned one-channel network without its head, fp32 safetensors, for another project to start from."""

    file: Literal["trunk.safetensors"]
    sha256: str


class StudiesFile(Strict):
    """What studies looked like when the release was made, see `pipeline.monitoring.reference`."""

    file: Literal["reference.npz"]
    sha256: str


class Manifest(Strict):
    """The whole contract.

    `reference` and `answers` are None in releases that were made before there was one; `answers` also where `runs` is
    what every machine runs.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    name: str
    version: str
    task: Task
    selection: Selection
    transform: Transform
    graph: Graph
    runs: Runs
    trunk: Trunk
    reference: StudiesFile | None = None
    calibration: Calibration
    backbone: Pretrained
    data: dict[str, Any]
    validation: dict[str, Any]
    made_from: Provenance
    cases: ParityCases
    answers: ParityCases | None = None
    engines: list[Engine]
    signature: str

    @model_validator(mode="after")
    def _calibrated_for_its_task(self) -> Manifest:
        fixed, kind, count = self.calibration, self.task.kind, len(self.task.classes)
        each = [value for value in (fixed.temperature, fixed.threshold) if isinstance(value, list)]
        fits = {
            "binary": count == 2 and not each and fixed.threshold is not None,
            "multiclass": not each and fixed.threshold is None,
            "multilabel": [len(value) for value in each] == [count, count],
        }
        if not fits[kind]:
            raise ValueError(f"a calibration that is none of a {kind} task of {count} classes")
        if fixed.knots is not None and len(fixed.knots) != {"binary": 1, "multiclass": 0, "multilabel": count}[kind]:
            raise ValueError(f"knots that are none of a {kind} task of {count} classes")
        return self

    def save(self, path: Path) -> None:
        """Write the manifest; equal contracts give equal bytes."""
        write_json(path, self.model_dump())


def load(folder: Path) -> Manifest:
    """Read `manifest.json` of a release folder.

    Raises:
        ContractError: no manifest there, or one that this version does not understand.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise ContractError(f"manifest.json in {folder}", "none there", "Name the release folder.")
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problem = error.errors()[0]
        # Of a value that may have several forms, pydantic names the form, too: no key, and no identifier.
        parts = [str(part) for part in problem["loc"] if isinstance(part, int) or part.isidentifier()]
        place = ".".join(parts) or "the whole"
        remedy = "Copy the release again, whole."
        if place == "schema_version":
            remedy = "Use the version that made it, or make it again with this one: `dvc repro release`."
        raise ContractError(f"a manifest of schema {SCHEMA_VERSION}", f"{place}: {problem['msg']}", remedy) from error
