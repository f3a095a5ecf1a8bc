"""The section `data` of params.yaml: where scans and labels are, what labels mean, and by what right all are used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from pipeline.contract import LabelLevel, TaskKind
from pipeline.strict import Strict
from pipeline.targets import SEPARATOR, Targets
from pipeline.training_config import InputPath

#: Where the embedded demo is made.
DEMO = Path("data/demo")
#: What there is to say of the demo's scans and labels, and of no others.
DEMO_STATED = {
    "source": "Embedded demo, simulated from the MNI152 template (ICBM 2009a) by the MR signal equations",
    "licence": "MNI152 template © McConnell Brain Imaging Centre, free to use and redistribute with its notice",
}


class Data(Strict):
    """Where the scans and labels are, and by what right they are used; without labels there is ingest alone.

    Attributes:
        source, licence: null in params.yaml stands for `DEMO_STATED` where the data are the demo's, else for nothing.
    """

    dicom_dir: InputPath
    labels: InputPath | None
    label_level: LabelLevel
    task: TaskKind = "binary"
    positive: str | None = None
    classes: Annotated[list[str], Field(min_length=2)] | None = None
    source: str
    licence: str

    @field_validator("source", "licence", mode="before")
    @classmethod
    def _stated(cls, given: Any, others: ValidationInfo) -> Any:
        if given is not None:
            return given
        demos = _of_demo(others.data.get("dicom_dir"), others.data.get("labels"))
        return DEMO_STATED[str(others.field_name)] if demos else ""

    @model_validator(mode="after")
    def _classes_named(self) -> Data:
        if (self.task == "binary") != (self.classes is None):
            raise ValueError(
                f"data.classes: a {self.task} task "
                + ("has none; data.positive names the positive class" if self.classes else "needs the names of them")
            )
        if self.classes and self.positive is not None:
            raise ValueError(f"data.positive: a {self.task} task has none; every name in data.classes is a class")
        for name in self.classes or []:
            if SEPARATOR in name or name != name.strip() or not name:
                raise ValueError(
                    f"data.classes: {name!r} is no name: none is empty, holds `;`, or has blanks at its ends"
                )
        if len(set(self.classes or [])) < len(self.classes or []):
            raise ValueError("data.classes: a name stands there twice")
        return self

    @property
    def of_demo(self) -> bool:
        """Whether the scans and the labels are those of the embedded demo."""
        return _of_demo(self.dicom_dir, self.labels)

    @property
    def unstated(self) -> dict[str, str]:
        """Of `source` and `licence` those that say nothing of these data, and why; the demo's speak of it alone."""
        found = {}
        for key, of_demo in DEMO_STATED.items():
            text = getattr(self, key).strip()
            if not text or (text == of_demo and not self.of_demo):
                found[key] = "that of the embedded demo" if text else "empty"
        return found

    @property
    def targets(self) -> Targets:
        """What the labels mean."""
        names = ["0", "1"] if self.positive is None else [f"not {self.positive}", self.positive]
        return Targets(self.task, tuple(self.classes or names))


def _of_demo(*paths: Path | None) -> bool:
    return all(path is None or path.is_relative_to(DEMO) for path in paths)
