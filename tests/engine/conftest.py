"""A small network as a release has it."""

from __future__ import annotations

import pytest

from pipeline.engine.graph import ReleaseGraph
from tests import small_network


@pytest.fixture(scope="session")
def network() -> ReleaseGraph:
    return small_network.network(small_network.model())
