"""A release of an earlier project as the source of this one: its fine-tuned trunk, and every training behind it.

Task B first, then task A: with `backbone.weights: file`, `backbone.file` names the folder of B's release. Its trunk has
one channel and its own normalisation already, so nothing is adapted but for the position embeddings of a network that
was made for another side of pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from pipeline.contract import Manifest
from pipeline.contract import load as load_manifest
from pipeline.errors import ConfigError, WeightsError
from pipeline.inference import signature
from pipeline.origins import Origin, Pretrained
from pipeline.training_config import Backbone
from pipeline.transfer import licence, resolution
from pipeline.transfer.backbone import empty_trunk, most_bytes
from pipeline.transfer.networks import create
from pipeline.transfer.weights import Weights, fit, read

#: Options by which a library's constructor would read files of the manifest's choice.
_READING = ("cache_dir", "checkpoint_path", "pretrained", "weights")


@dataclass(frozen=True)
class Start:
    """What a project starts from.

    Attributes:
        trunk: one channel, in evaluation mode.
        options: of its constructor.
        manifest: the release's.
        graph: its ONNX file.
        weights: the trunk's tensors.
        licence: every licence behind it.
        restriction: a sentence where one of them forbids commercial use.
    """

    trunk: nn.Module
    options: dict[str, Any]
    manifest: Manifest
    graph: Path
    weights: Weights
    licence: str
    restriction: str | None

    def at(self, size: int) -> Start:
        """This start for pictures of another side than the release's: a network made for one side is built for it.

        Raises:
            ConfigError: its tensors cannot be resampled.
        """
        name, own = self.manifest.backbone.name, self.manifest.transform.size
        options = resolution.exchanged(name, self.options, size)
        if size == own or options == self.options:
            return self
        trunk = empty_trunk(name, options)
        changed = resolution.resampled(trunk, self.weights.state)
        weights = replace(self.weights, state=self.weights.state | changed, resampled=tuple(sorted(changed)))
        try:
            fit(trunk, weights, name)
        except WeightsError as error:
            raise ConfigError(
                f"prepare.size: {own}, the side that the release in backbone.file was made for",
                f"{size}, for which its {name} cannot be resampled ({error.found})",
                f"Set prepare.size to {own}, or choose another backbone.",
            ) from error
        return replace(self, trunk=trunk.eval(), options=options, weights=weights)

    def card(self, parity: dict[str, float]) -> dict[str, Any]:
        """`models/backbone/card.json`, of the form of `origins.Pretrained`."""
        before = self.manifest.backbone
        return Pretrained(
            name=before.name,
            options=self.options,
            weights="release",
            origin=self.weights.origin,
            sha256=self.weights.sha256,
            verified=self.weights.verified,
            resampled=list(self.weights.resampled),
            licence=self.licence,
            restriction=self.restriction,
            trained=None,
            mean=before.mean,
            std=before.std,
            parity=parity,
            origins=origins(self.manifest),
        ).model_dump(mode="json")


def is_named(backbone: Backbone) -> bool:
    """Whether `backbone` asks for a release.

    Raises:
        ConfigError: it names no network, and no release that could.
    """
    marks = ("manifest.json", signature.SUMS)
    found = backbone.weights == "file" and any((backbone.file / mark).is_file() for mark in marks)
    if not found and not backbone.name:
        raise ConfigError(
            "backbone.name, or a release in backbone.file with weights: file",
            f"backbone.name: null with weights: {backbone.weights} and file: {backbone.file}",
            "Name the network, or set backbone.file to another project's models/release.",
        )
    return found


def load(backbone: Backbone) -> Start:
    """The trunk of the release in `backbone.file`, after its checksums, for pictures of the release's side.

    Raises:
        ConfigError: params.yaml asks for another network, or states what the release states.
        ContractError: a file is missing, changed or not listed, or the manifest is none.
        WeightsError: no trunk in it, not the promised one, of another architecture, or not allowed.
    """
    folder = backbone.file
    signature.check_sums(folder)
    manifest = load_manifest(folder)
    _require_agreement(backbone, manifest)
    licences = "; ".join(dict.fromkeys(origin.licence for origin in origins(manifest)))
    restriction = licence.restriction(licences) or manifest.backbone.restriction
    licence.require_allowed(licences, allow_non_commercial=backbone.allow_non_commercial, inherited=restriction)
    name, options = manifest.backbone.name, manifest.backbone.options
    weights = _tensors(backbone, manifest, most_bytes(create(name, options)))
    trunk = empty_trunk(name, options)
    fit(trunk, weights, name)
    graph = folder / Path(manifest.graph.file).name
    return Start(trunk.eval(), options, manifest, graph, weights, licences, restriction)


def _tensors(backbone: Backbone, manifest: Manifest, most: int) -> Weights:
    signed = "UNSIGNED" if manifest.signature == signature.UNSIGNED else "its signature was not checked"
    promised = {f"its manifest ({signed})": manifest.trunk.sha256}
    if backbone.sha256 is not None:
        promised["backbone.sha256"] = backbone.sha256
    origin = f"{manifest.name} {manifest.version}"
    return read(backbone.file / manifest.trunk.file, origin, promised, most)


def _require_agreement(backbone: Backbone, manifest: Manifest) -> None:
    """params.yaml and the release speak of one network, and of what the release knows only the release speaks."""
    of = manifest.backbone
    same = (backbone.name, backbone.options) == (of.name, of.options)
    if not same and (backbone.name or backbone.options):
        raise ConfigError(
            f"the network of the release in backbone.file, {of.name} with options {of.options}",
            f"backbone.name: {backbone.name or 'null'} with options {backbone.options}",
            "Set backbone.name: null and backbone.options: {}, and the release says both.",
        )
    for key in ("licence", "mean", "std"):
        if getattr(backbone, key) is not None:
            raise ConfigError(
                f"backbone.{key}: null with a release in backbone.file, which states its own",
                f"{getattr(backbone, key)}",
                "Take it out; it is for files that state nothing.",
            )
    reading = [option for option in of.options if option.startswith(_READING)]
    if reading:
        raise ConfigError(
            "a release whose network is built from its own files",
            f"the option {reading[0]}",
            "Do not use this release.",
        )


def origins(manifest: Manifest) -> list[Origin]:
    """Every training behind the release's trunk, the last first; at the end the weights that others published."""
    task, before = manifest.task, manifest.backbone
    last = Origin(
        name=manifest.name,
        version=manifest.version,
        task=f"{task.target} ({', '.join(task.classes)})",
        data=str(manifest.data.get("source", "not stated")),
        licence=str(manifest.data.get("licence", "not stated")),
        sha256=manifest.trunk.sha256,
    )
    published = Origin(
        name=before.name,
        version=None,
        task=before.task,
        data=before.origin,
        licence=before.licence,
        sha256=before.sha256,
    )
    return [last, *(before.origins or [published])]
