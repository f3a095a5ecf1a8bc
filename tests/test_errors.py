"""The error tree."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from pipeline import errors
from pipeline.errors import PipelineError

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind is not PipelineError]


def test_docstring_draws_the_tree_as_it_is() -> None:
    drawn: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^([ │├└─]*)(\w+Error)\b", line)
        if match:
            depth = len(match[1])
            path = [step for step in path if step[0] < depth]
            if path:
                drawn[match[2]] = path[-1][1]
            path.append((depth, match[2]))
    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in ALL}


@pytest.mark.parametrize("kind", ALL)
def test_message_has_what_was_expected_what_came_and_the_remedy(kind: type[PipelineError]) -> None:
    error = kind("two sites", "one", "Give another.")
    assert str(error) == "expected two sites; found one. Give another."
    assert (error.expected, error.found, error.remedy) == ("two sites", "one", "Give another.")


def test_an_error_of_a_worker_process_arrives_whole() -> None:
    error = pickle.loads(pickle.dumps(errors.DataError("two sites", "one", "Give another.")))
    assert (type(error), error.found) == (errors.DataError, "one")


def test_only_a_lack_of_room_may_pass_by_itself() -> None:
    assert [kind.__name__ for kind in ALL if kind.retryable] == ["StorageError"]
