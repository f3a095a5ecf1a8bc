"""Prefect flows over the DVC stages."""

import os

# Before Prefect is imported, which else counts that, and tells its makers where a server does not forbid it.
os.environ.setdefault("DO_NOT_TRACK", "1")
