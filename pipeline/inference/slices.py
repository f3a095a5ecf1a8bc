"""Slices that are units, answered by a graph with their neighbours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.inference.answers import Answers, Backend, Slices
from pipeline.inference.neighbours import calls


def of_slices(backend: Backend, slices: Slices, sd: float) -> Answers:
    """What a graph says of the slices of one volume, each a unit with its neighbours: B is N, in their order.

    Args:
        backend: runs the graph.
        slices: uint8 (N, size, size), in their order along the volume.
        sd: see `neighbours.weights`.
    """
    parts: list[Answers] = []
    for call in calls([("", place) for place in range(len(slices))], sd):
        said = backend.run(slices[call.given], call.membership)
        own = np.searchsorted(call.given, call.wanted)
        saliency = None if said.saliency is None else said.saliency[own]
        parts.append(replace(said, slice_scores=said.slice_scores[own], saliency=saliency))
    maps = [part.saliency for part in parts if part.saliency is not None]
    return Answers(
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.slice_scores for part in parts]),
        np.concatenate([part.embedding for part in parts]),
        np.concatenate(maps) if maps else None,
    )
