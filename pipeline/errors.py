"""Every error that the pipeline raises on purpose.

    PipelineError
    ├── ConfigError          params.yaml: unknown key, wrong type, a combination that cannot work
    ├── DataError            what came in is not what the stage needs
    │   ├── DicomError       a file, series or folder of DICOM
    │   ├── LabelError       the labels file
    │   ├── SplitError       patients and sites cannot be divided as asked
    │   └── LeakageError     a patient or image on two sides of the split
    ├── WeightsError         a weights file or hub: missing, truncated, another architecture, a pickle
    ├── StemError            a network whose first layer cannot be taken to one channel
    ├── TrainingError        training diverged or cannot start
    ├── LedgerError          the ledger of the test set is damaged or lacks lines
    ├── AcceptanceError      the model missed a criterion of params.yaml; nothing after `accept` runs
    ├── PromotionError       a release may not go into production; the one that is there stays
    ├── EngineError          ONNX or TensorRT: export, build, parity, or the package is missing
    ├── ContractError        a release does not match its manifest, checksums or signature
    ├── WorkerError          a worker process was killed, usually for want of memory, or a thread has ended
    └── StorageError         a disk that is full or cannot be written; retryable

A message says what was expected, what came, and what to do. It never holds a patient identifier.
"""

from __future__ import annotations


class PipelineError(Exception):
    """Base of the tree.

    Args:
        expected: what the stage needs, as a noun phrase or sentence.
        found: what came instead.
        remedy: what the reader can do about it, as an instruction.
    """

    #: Whether the same command may succeed later without anybody changing anything.
    retryable = False

    def __init__(self, expected: str, found: str, remedy: str) -> None:
        self.expected, self.found, self.remedy = expected, found, remedy
        super().__init__(f"expected {expected}; found {found}. {remedy}")

    def __reduce__(self) -> tuple[type[PipelineError], tuple[str, str, str]]:
        """So that an error raised in a worker process arrives whole."""
        return type(self), (self.expected, self.found, self.remedy)


class ConfigError(PipelineError):
    """params.yaml holds a key or value that cannot be used."""


class DataError(PipelineError):
    """The input data is not what the stage needs."""


class DicomError(DataError):
    """A file, series or folder of DICOM cannot be used."""


class LabelError(DataError):
    """The labels file cannot be used."""


class SplitError(DataError):
    """Patients and sites cannot be divided as asked."""


class LeakageError(DataError):
    """A patient or an image stands on two sides of the split."""


class WeightsError(PipelineError):
    """Pre-trained weights cannot be had or do not fit the network."""


class StemError(PipelineError):
    """The first layer of a network cannot be taken to one channel."""


class TrainingError(PipelineError):
    """Training diverged or cannot start."""


class LedgerError(PipelineError):
    """The ledger of the test set's openings is damaged, or lacks lines that it had."""


class AcceptanceError(PipelineError):
    """The model missed an acceptance criterion."""


class PromotionError(PipelineError):
    """A release may not go into production."""


class EngineError(PipelineError):
    """An ONNX graph or TensorRT engine could not be made or is not equal to the model."""


class ContractError(PipelineError):
    """A release does not match its manifest, its checksums or its signature."""


class WorkerError(PipelineError):
    """A worker process was killed, or a thread that should be at work has ended."""


class StorageError(PipelineError):
    """A disk is full or cannot be written."""

    retryable = True
