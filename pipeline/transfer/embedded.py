"""The backbone that comes with this version: one file of tensors and its card, both in git."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import ConfigError, WeightsError
from pipeline.training_config import Backbone, Fraction, Positive

EMBEDDED = Path("models/embedded")
FILE, CARD = "backbone.safetensors", "card.json"

_RESTORE = f"Restore both files as this version has them: git checkout -- {EMBEDDED}"


class Card(BaseModel):
    """What `card.json` says; keys beyond these are let be.

    Attributes:
        data: what readers are told the network was trained on.
        resolution: pixels of a side in training.
        top1: share of `top1_images` validation images whose class it names.
        teachers: networks whose features it learnt.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    options: dict[str, Any]
    data: Annotated[str, Field(min_length=1)]
    classes: Positive
    resolution: Positive
    epochs: Positive
    top1: Fraction
    top1_images: Positive
    teachers: list[Any]
    licence: Annotated[str, Field(min_length=1)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def trained(self) -> dict[str, Any]:
        """How the network was trained, for whoever reads about a model made of it."""
        return self.model_dump(include={"data", "classes", "resolution", "epochs", "top1", "top1_images", "teachers"})


def card() -> Card:
    """The card in `models/embedded`.

    Raises:
        WeightsError: it is not there, or not such a card.
    """
    path = EMBEDDED / CARD
    if not path.is_file():
        raise WeightsError(f"the embedded backbone's card at {path}", "no such file", _RESTORE)
    try:
        return Card.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise WeightsError(
            f"the embedded backbone's card in {path}", f"{place or 'no JSON'}: {problem['msg']}", _RESTORE
        ) from error


def require_chosen(card: Card, backbone: Backbone) -> None:
    """See that params.yaml asks for the network that is embedded.

    Raises:
        ConfigError: it names another network, or other options.
    """
    if (backbone.name, backbone.options) != (card.name, card.options):
        raise ConfigError(
            f"backbone.name: {card.name} with options {card.options}, which is the embedded backbone ({card.data})",
            f"{backbone.name} with options {backbone.options}",
            f"Set backbone.name and backbone.options to those, or backbone.weights to file or hub for {backbone.name}.",
        )


def tensors() -> Path:
    """The file of tensors that the card is about.

    Raises:
        WeightsError: it is not there.
    """
    path = EMBEDDED / FILE
    if not path.is_file():
        raise WeightsError(f"the embedded backbone's tensors at {path}", "no such file", _RESTORE)
    return path
