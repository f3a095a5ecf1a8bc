"""Releases as the tests of inference make them."""

from tests.inference.conftest import graph as graph
from tests.inference.conftest import make_release as make_release
from tests.inference.conftest import network as network
from tests.inference.conftest import write_series as write_series
