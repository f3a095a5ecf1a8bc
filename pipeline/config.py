"""params.yaml as typed, validated values; one model per section, an unknown key is an error."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from pipeline import typed_yaml
from pipeline.contract import Selection, SelectionRules, Transform
from pipeline.data_config import Data
from pipeline.fingerprint import Precision
from pipeline.strict import Strict
from pipeline.training_config import Backbone, Features, Finetune, Fraction, Positive, Scratch
from pipeline.validation_config import Calibrate, Criterion, Validate


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("it must be an absolute path")
    return path


class Demo(Strict):
    """The simulated studies."""

    patients: Annotated[int, Field(ge=12)]
    slices: Annotated[int, Field(ge=8)]
    matrix: Annotated[int, Field(ge=64)]
    lesion_fraction: Fraction
    lesion_volume_ml: tuple[float, float]
    lesion_contrast: tuple[Fraction, Fraction]


class Ingest(SelectionRules):
    """Which series are taken, what of the patient is kept, and who does the work."""

    keep_sex_age: bool
    keep_site: bool = False
    workers: Positive | None = None
    scheduler: Annotated[str, Field(pattern=r"^(tcp|tls)://\S+:\d+$")] | None = None

    @property
    def selection(self) -> Selection:
        """The rules, as a release carries them."""
        return Selection.model_validate(self.model_dump(include=set(SelectionRules.model_fields)))


class Split(Strict):
    """Shares of the patients; held-out sites go to the test side whole."""

    train: Fraction
    val: Fraction
    test: Fraction
    hold_out_sites: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _whole(self) -> Split:
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"split: train + val + test must be 1, not {self.train + self.val + self.test:g}")
        return self


class PrecisionRules(Strict):
    """What a cheaper way to run the graph may change on patients, and which ways are tried; None: all.

    Attributes:
        band: how near to the threshold a probability may lie for its decision to flip.
        auroc_change: the most by which the AUROC may fall.
        rungs: runtime and precision, such as `openvino bf16`.
    """

    band: Annotated[float, Field(ge=0, le=1)]
    auroc_change: Annotated[float, Field(ge=0, le=1)]
    rungs: list[Annotated[str, Field(pattern=r"^(onnxruntime|openvino) (fp32|fp16|bf16|int8|int8\+bf16)$")]] | None


class Export(Strict):
    """The ONNX graph and the ways to run it."""

    opset: Annotated[int, Field(ge=17)]
    tolerance: Annotated[float, Field(gt=0)]
    precision: PrecisionRules


class Compile(Strict):
    """The TensorRT engine.

    Attributes:
        required: whether a release needs one.
        compute_capabilities: built for, where there is no GPU.
        precision: of its graph; None: fp16 where validation patients allow it, else fp32.
        version_compatible, hardware_compatible: see `fingerprint.Engine`.
        slices: least, usual and most in one call; None: by the units that were prepared.
    """

    required: bool
    compute_capabilities: Annotated[list[Annotated[str, Field(pattern=r"^\d+\.\d$")]], Field(min_length=1)]
    precision: Precision | None
    version_compatible: bool
    hardware_compatible: bool
    slices: tuple[Positive, Positive, Positive] | None


class Release(Strict):
    """What the release is called and who signs it."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    key_file: Path | None = None


class Promote(Strict):
    """What a release must show before it goes into production, and where production lies.

    Attributes:
        store: folder of the releases as boxes take them. None: `releases` in the folder for data of this user.
        public_key: of whoever signs the releases.
        allow_unsigned: whether a release without a signature that a public key vouches for may go into production.
        margin: by how much its AUROC may be lower than that of production, at the lower end of the interval.
        patients: least number of labelled ones whom neither learnt from.
    """

    store: Annotated[Path, AfterValidator(_absolute)] | None = None
    public_key: Annotated[Path, AfterValidator(_absolute)] | None = None
    allow_unsigned: bool = False
    margin: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    patients: Positive = 30

    @property
    def folder(self) -> Path:
        """The store."""
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
        return self.store or data / "mri-transfer/releases"


class Params(Strict):
    """The whole of params.yaml."""

    seed: int
    cache_dir: Annotated[Path, AfterValidator(_absolute)] | None = None
    data: Data
    demo: Demo
    ingest: Ingest
    split: Split
    prepare: Transform
    backbone: Backbone
    features: Features
    finetune: Finetune
    scratch: Scratch
    calibrate: Calibrate
    validate_: Validate = Field(alias="validate")
    accept: Annotated[list[Criterion], Field(min_length=1)]
    export: Export
    compile: Compile
    release: Release
    promote: Promote = Promote()

    @field_validator("scratch")
    @classmethod
    def _as_long_as_fine_tuning(cls, scratch: Scratch, others: ValidationInfo) -> Scratch:
        finetune = others.data.get("finetune")
        if finetune is not None and scratch.epochs is not None and scratch.epochs < finetune.control_epochs:
            raise ValueError(
                f"scratch.epochs: at least {finetune.control_epochs}, as fine-tuning has for the trunk, or null for as "
                f"many, not {scratch.epochs}: a control with less cannot tell whether transfer helped"
            )
        return scratch

    @field_validator("calibrate")
    @classmethod
    def _calibrator_of_the_task(cls, calibrate: Calibrate, others: ValidationInfo) -> Calibrate:
        data = others.data.get("data")
        if data is not None and data.task == "multiclass" and calibrate.calibrator == "isotonic":
            raise ValueError("the probabilities of a multiclass task depend on each other: calibrator is `temperature`")
        return calibrate

    @property
    def control_epochs(self) -> int:
        """Epochs that the control from random weights may have."""
        return self.scratch.epochs or self.finetune.control_epochs

    def cache(self, name: str) -> Path:
        """The folder `name` below the cache directory, which is outside DVC's outputs."""
        return (self.cache_dir or default_cache()) / name


def default_cache() -> Path:
    """Where checkpoints and caches go that no parameter puts elsewhere."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mri-transfer"


def load(path: Path = Path("params.yaml")) -> Params:
    """Read and validate params.yaml.

    Raises:
        ConfigError: no such file, no YAML, an unknown key (the message names the nearest valid one) or a bad value.
    """
    return typed_yaml.read(path, Params)
