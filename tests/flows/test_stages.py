"""A run that outlives the worker that reads what it prints, for as long as it takes to say so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

#: Prints by Prefect's logger to nobody, twice, and says by a file that it came so far.
PROGRAM = """
import logging, sys
from pathlib import Path
from flows.stages import die_with_worker

die_with_worker()
logging.getLogger("prefect.engine").error("Crash detected!")
logging.getLogger("prefect.engine").error("Finished")
Path(sys.argv[1]).write_text("went on")
"""


def test_a_run_goes_on_to_report_where_nobody_reads_what_it_prints(tmp_path: Path) -> None:
    """A worker that is killed closes the pipe; the console of Prefect would exit at the first line of its report."""
    read, write = os.pipe()
    os.close(read)
    said = tmp_path / "said"
    environment = {**os.environ, "PREFECT__FLOW_RUN_ID": "00000000-0000-0000-0000-000000000000"}
    try:
        subprocess.run([sys.executable, "-c", PROGRAM, str(said)], env=environment, stderr=write, check=False)
    finally:
        os.close(write)
    assert said.read_text() == "went on"
