"""Dagster: the tables of a lake as an asset that is brought up to date every night.

`dagster dev -f dagster_assets.py`. MEDSPAN_PIPELINE names the pipeline file, MEDSPAN the command,
if it is not on the path.
"""

import json
import os
import subprocess

import dagster as dg

PIPELINE = os.environ.get("MEDSPAN_PIPELINE", "/srv/lake.yaml")
MEDSPAN = os.environ.get("MEDSPAN", "medspan")


@dg.asset(retry_policy=dg.RetryPolicy(max_retries=3, delay=300))
def lake_entities() -> dg.MaterializeResult:
    """Documents and entities of the lake; a pass reads what is new, changed or gone."""
    command = [MEDSPAN, "enrich", PIPELINE, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode in (2, 3):  # a person must look: configuration, or drift
        raise dg.Failure(f"exit code {done.returncode}: {done.stdout}", allow_retries=False)
    if done.returncode:  # the next attempt goes on with what is finished
        raise dg.Failure(f"exit code {done.returncode}")
    found = json.loads(done.stdout)
    counts = found.get("counts", {})
    return dg.MaterializeResult(
        metadata={
            "run": found["run_id"] or "nothing to do",
            "documents": counts.get("documents", {}),
            "entities": counts.get("entities", {}),
        }
    )


nightly = dg.ScheduleDefinition(
    name="nightly", target=dg.AssetSelection.assets(lake_entities), cron_schedule="0 2 * * *"
)
definitions = dg.Definitions(assets=[lake_entities], schedules=[nightly])

if __name__ == "__main__":
    raise SystemExit(not dg.materialize([lake_entities], raise_on_error=False).success)
