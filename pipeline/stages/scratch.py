"""The control: the same network, data and augmentation without transfer."""

from __future__ import annotations

from pipeline.config import Params
from pipeline.stages import runner
from pipeline.stages.finetune import train
from pipeline.training_config import Phase


def scratch(params: Params) -> None:
    """Write `models/scratch/`: trained from random weights, all layers from the start."""
    chosen = params.scratch
    phase = Phase(name="all", trunk=1.0, epochs=chosen.epochs, learning_rate=chosen.learning_rate)
    train(params, "scratch", [phase], pretrained=False)


if __name__ == "__main__":
    runner.run("scratch", scratch)
