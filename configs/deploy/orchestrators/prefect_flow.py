"""Prefect: a flow that enriches a lake every night: `python prefect_flow.py serve`.

MEDSPAN_PIPELINE names the pipeline file, MEDSPAN the command, if it is not on the path.
"""

import json
import os
import subprocess
import sys

from prefect import flow, task

PIPELINE = os.environ.get("MEDSPAN_PIPELINE", "/srv/lake.yaml")
MEDSPAN = os.environ.get("MEDSPAN", "medspan")


class PersonNeeded(Exception):
    """Configuration or drift: another attempt would end the same."""


def may_succeed_later(task, run, state):
    """Return True to retry; by default Prefect retries after any exception."""
    return not isinstance(state.result(raise_on_failure=False), PersonNeeded)


@task(retries=3, retry_delay_seconds=300, retry_condition_fn=may_succeed_later)
def enrich():
    """One pass; returns its run and counts."""
    command = [MEDSPAN, "enrich", PIPELINE, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode in (2, 3):
        raise PersonNeeded(f"exit code {done.returncode}: {done.stdout}")
    if done.returncode:  # the next attempt goes on with what is finished
        raise RuntimeError(f"exit code {done.returncode}")
    return json.loads(done.stdout)


@flow
def enrich_lake():
    """Read what is new, changed or gone since the last pass."""
    return enrich()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        enrich_lake.serve(name="nightly", cron="0 2 * * *", limit=1)
    else:
        enrich_lake()
