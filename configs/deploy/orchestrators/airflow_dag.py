"""Airflow 3: a pass of enrichment every night. Put this file into the folder of DAGs.

MEDSPAN_PIPELINE names the pipeline file, MEDSPAN the command, if it is not on the path.
"""

import json
import os
import subprocess
from datetime import datetime, timedelta

from airflow.exceptions import AirflowException, AirflowFailException
from airflow.sdk import dag, task

PIPELINE = os.environ.get("MEDSPAN_PIPELINE", "/srv/lake.yaml")
MEDSPAN = os.environ.get("MEDSPAN", "medspan")


@dag(
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,  # a pass takes all that is new, whichever night it missed
    max_active_runs=1,
)
def enrich_lake():
    """Read what is new, changed or gone since the last pass."""

    @task(retries=3, retry_delay=timedelta(minutes=5))
    def enrich():
        """One pass; returns its run and counts, for XCom."""
        command = [MEDSPAN, "enrich", PIPELINE, "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode in (2, 3):  # a person must look: configuration, or drift
            raise AirflowFailException(f"exit code {done.returncode}: {done.stdout}")
        if done.returncode:  # the next attempt goes on with what is finished
            raise AirflowException(f"exit code {done.returncode}")
        return json.loads(done.stdout)

    enrich()


lake = enrich_lake()

if __name__ == "__main__":
    raise SystemExit(lake.test().state != "success")
