"""The model contract, `manifest.json`: everything a box needs to reproduce preprocessing and decide."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import ContractError
from pipeline.files import write_json

#: Raised when a box must be newer to understand a manifest.
SCHEMA_VERSION: Literal[1] = 1

LabelLevel = Literal["patient", "study", "series", "slice"]
Pooling = Literal["mean", "max", "attention"]
TaskKind = Literal["binary", "multiclass", "multilabel"]
Contrast = Literal["T1", "T2", "PD", "FLAIR"]
Plane = Literal["axial", "coronal", "sagittal", "oblique"]
AcquisitionType = Literal["2D", "3D"]
Merit = Literal["most_slices", "thinnest", "latest"]
Item = TypeVar("Item")
#: Those of several that are taken: nothing would be by an empty list, and None stands for all.
Choice = Annotated[list[Item], Field(min_length=1)]


class Strict(BaseModel):
    """A model that refuses unknown keys and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


class Graph(Strict):
    """The ONNX file: float32 `slices` (N, 1, size, size) in 0..1 to float32 `logits`; N is free.

    `logits` is (N, K) for K outputs; where `pooling` is attention (N, K + 1), the score by which a slice counts last.
    `pipeline.inference.pooling` makes the logits of a unit from them.
    """

    file: str
    sha256: str
    opset: int
    input_name: str
    output_name: str
    pooling: Pooling = "mean"


class Calibration(Strict):
    """Fixed on validation patients: probability = sigmoid(pooled logit / temperature); positive at >= threshold."""

    temperature: Annotated[float, Field(gt=0)]
    threshold: Annotated[float, Field(ge=0, le=1)]
    rule: str
    model_sha256: str
    split_sha256: str


class Engine(Strict):
    """One TensorRT engine of the release."""

    file: str
    sha256: str
    builder: str
    builder_version: str
    compute_capability: str
    status: Literal["built, not run"]


class Task(Strict):
    """What was transferred, from where to where (the domains and tasks of Pan & Yang 2010, IEEE TKDE 22:1345).

    Attributes:
        source, target: the tasks.
        source_domain, target_domain: the images that each is about.
    """

    source: str
    target: str
    source_domain: str = "not recorded"
    target_domain: str = "not recorded"
    label_level: LabelLevel
    classes: list[str]


class Origin(Strict):
    """One training in the past of weights.

    Attributes:
        name: of the release that came of it; of the network where it was published by others.
        version: of the release; None where others published it.
        task: what was learnt.
        data: from what, as it was stated.
        licence: of that data, or of the weights that others published.
        sha256: of the weights' file.
    """

    name: str
    version: str | None
    task: str
    data: str
    licence: str
    sha256: str


class Trunk(Strict):
    """The fine-tuned one-channel network without its head, fp32 safetensors, for another project to start from."""

    file: Literal["trunk.safetensors"]
    sha256: str


class Pretrained(Strict):
    """The weights that the training began with.

    Attributes:
        name: of the network, in its library.
        options: of its constructor.
        weights: which kind of origin was asked for; `release` where the file was that of an earlier run.
        origin: what its readers call the source.
        sha256: of the file.
        verified: whose checksum the file has, in words, or "not verified".
        licence: of the weights.
        restriction: a sentence where the licence forbids commercial use.
        trained: of an embedded backbone, its card's account: data, classes, resolution, epochs, top1, ...
        mean: per RGB channel, of the pictures it was trained on; it is part of the graph.
        std: likewise.
        parity: largest difference of a logit between the RGB network and its one-channel form; of a feature between
            the trunk and the graph of a release.
        origins: of a release's weights, every training behind them, the last first.
    """

    name: str
    options: dict[str, Any]
    weights: Literal["file", "hub", "embedded", "release"]
    origin: str
    sha256: str
    verified: str
    licence: str
    restriction: str | None
    trained: dict[str, Any] | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    parity: dict[str, float]
    origins: list[Origin] = Field(default_factory=list)


class Manifest(Strict):
    """The whole contract; releases made before there were trunks have none."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    version: str
    task: Task
    selection: Selection
    transform: Transform
    graph: Graph
    trunk: Trunk | None = None
    calibration: Calibration
    backbone: Pretrained
    data: dict[str, Any]
    validation: dict[str, Any]
    engines: list[Engine]
    signature: str

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
        place = ".".join(str(part) for part in problem["loc"])
        raise ContractError(
            f"a manifest of schema {SCHEMA_VERSION}", f"{place}: {problem['msg']}", "Copy the release again, whole."
        ) from error
