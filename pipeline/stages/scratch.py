"""The control: the same network, data and augmentation without transfer."""

from __future__ import annotations

from functools import partial

from pipeline.clinical.report import environment
from pipeline.config import Params
from pipeline.stages import runner
from pipeline.stages.finetune import train
from pipeline.training_config import Finetune, Phase
from pipeline.transfer.distributed import launch


def control(params: Params) -> tuple[list[Phase], Finetune]:
    """Its one phase, and its settings: nothing of random weights is worth keeping, so all layers learn at one rate."""
    phase = Phase(name="all", trunk=1.0, epochs=params.control_epochs, learning_rate=params.scratch.learning_rate)
    return [phase], params.finetune.model_copy(update={"layer_decay": 1.0})


def scratch(params: Params) -> None:
    """Write `models/scratch/`: trained from random weights, all layers from the start."""
    phases, settings = control(params)
    launch(train, settings.processes, params, "scratch", phases, settings, False)


if __name__ == "__main__":
    runner.run("scratch", scratch, partial(environment.trained, "scratch"))
