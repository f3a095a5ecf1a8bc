"""The control: the same network, data and augmentation without transfer."""

from __future__ import annotations

from functools import partial

from pipeline.clinical.report import environment
from pipeline.config import Params
from pipeline.stages import runner
from pipeline.stages.finetune import train
from pipeline.training_config import Phase
from pipeline.transfer.distributed import launch


def scratch(params: Params) -> None:
    """Write `models/scratch/`: trained from random weights, all layers from the start."""
    epochs = params.scratch.epochs or params.finetune.control_epochs
    phase = Phase(name="all", trunk=1.0, epochs=epochs, learning_rate=params.scratch.learning_rate)
    launch(train, params.finetune.processes, params, "scratch", [phase], False)


if __name__ == "__main__":
    runner.run("scratch", scratch, partial(environment.trained, "scratch"))
