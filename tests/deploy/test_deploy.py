"""The files for those who outgrow one machine fit what reads them, and each other.

The schemas hold the part of KubeRay's (1.6) and Kubernetes' API that the files use, closed: a key
that is misspelt is an error. They were checked against KubeRay's own CRDs.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from croniter import croniter
from support import ROOT
from typer.testing import CliRunner

from pipelines.cli.app import app

DEPLOY = ROOT / "configs/deploy"


def _closed(required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": properties,
    }


TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 0}
FLAG = {"type": "boolean"}
QUANTITY = {"type": "string", "pattern": r"^\d+(m|Mi|Gi)?$"}
RESOURCES = _closed(
    "requests limits",
    requests={"type": "object", "additionalProperties": QUANTITY},
    limits={"type": "object", "additionalProperties": QUANTITY},
)
ENV = _closed(
    "name",
    name=TEXT,
    value=TEXT,
    valueFrom=_closed("secretKeyRef", secretKeyRef=_closed("name key", name=TEXT, key=TEXT)),
)
CONTAINER = _closed(
    "name image resources",
    name=TEXT,
    image=TEXT,
    command={"type": "array", "items": TEXT},
    args={"type": "array", "items": TEXT},
    env={"type": "array", "items": ENV},
    resources=RESOURCES,
    volumeMounts={
        "type": "array",
        "items": _closed("name mountPath", name=TEXT, mountPath=TEXT, readOnly=FLAG),
    },
)
VOLUME = _closed(
    "name",
    name=TEXT,
    configMap=_closed("name", name=TEXT),
    emptyDir=_closed("", sizeLimit=QUANTITY),
)
TOLERATION = _closed("key operator", key=TEXT, operator={"enum": ["Exists", "Equal"]})
POD = _closed(
    "spec",
    spec=_closed(
        "containers",
        serviceAccountName=TEXT,
        restartPolicy={"enum": ["Never", "OnFailure", "Always"]},
        containers={"type": "array", "items": CONTAINER, "minItems": 1},
        volumes={"type": "array", "items": VOLUME},
        tolerations={"type": "array", "items": TOLERATION},
    ),
)
START = {"type": "object", "additionalProperties": {"type": "string"}}
WORKERS = _closed(
    "groupName rayStartParams template",
    groupName=TEXT,
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    rayStartParams=START,
    template=POD,
)
RAY_JOB = _closed(
    "entrypoint rayClusterSpec",
    entrypoint=TEXT,
    submissionMode={"enum": ["HTTPMode", "K8sJobMode"]},
    shutdownAfterJobFinishes=FLAG,
    ttlSecondsAfterFinished=COUNT,
    activeDeadlineSeconds=COUNT,
    backoffLimit=COUNT,
    rayClusterSpec=_closed(
        "rayVersion headGroupSpec workerGroupSpecs",
        rayVersion=TEXT,
        headGroupSpec=_closed("template", rayStartParams=START, template=POD),
        workerGroupSpecs={"type": "array", "items": WORKERS},
    ),
)
CRON_JOB = _closed(
    "schedule jobTemplate",
    schedule=TEXT,
    timeZone=TEXT,
    concurrencyPolicy={"enum": ["Forbid", "Allow", "Replace"]},
    startingDeadlineSeconds=COUNT,
    successfulJobsHistoryLimit=COUNT,
    failedJobsHistoryLimit=COUNT,
    jobTemplate=_closed(
        "spec",
        spec=_closed("template", backoffLimit=COUNT, activeDeadlineSeconds=COUNT, template=POD),
    ),
)
KINDS = {
    "rayjob": ("ray.io/v1", "RayJob", RAY_JOB),
    "raycronjob": (
        "ray.io/v1",
        "RayCronJob",
        _closed("schedule jobTemplate", schedule=TEXT, timeZone=TEXT, jobTemplate=RAY_JOB),
    ),
    "cronjob": ("batch/v1", "CronJob", CRON_JOB),
}


def _read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / f"{name}.yaml").read_text())


@pytest.mark.parametrize("name", KINDS)
def test_the_kubernetes_files_fit_their_kinds(name: str) -> None:
    api, kind, spec = KINDS[name]
    metadata = {"type": "object", "additionalProperties": TEXT}
    schema = _closed(
        "apiVersion kind metadata spec",
        apiVersion={"const": api},
        kind={"const": kind},
        metadata=metadata,
        spec=spec,
    )
    jsonschema.validate(_read(name), schema)


@pytest.mark.parametrize("name", ["raycronjob", "cronjob"])
def test_the_schedules_are_schedules(name: str) -> None:
    assert croniter.is_valid(_read(name)["spec"]["schedule"])


def test_jobs_start_a_resumable_command() -> None:
    job, cron = _read("rayjob")["spec"], _read("raycronjob")["spec"]["jobTemplate"]
    assert job == cron
    (container,) = _read("cronjob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    submit_all = container["args"][container["args"].index("--") + 1 :]
    for words in (shlex.split(job["entrypoint"]), submit_all):
        assert (words[0], words[2]) == ("medspan", "enrich")
        assert CliRunner().invoke(app, [*words[1:3], "--help"]).exit_code == 0
    (workers,) = job["rayClusterSpec"]["workerGroupSpecs"]
    pod = workers["template"]["spec"]
    mounts = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}


def test_the_version_of_ray_is_ours() -> None:
    assert _read("rayjob")["spec"]["rayClusterSpec"]["rayVersion"] == version("ray")


def test_the_dockerfile_copies_what_is_there_and_passes_its_linter() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE):
        assert all((ROOT / source).exists() for source in sources.split())
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([linter, str(DEPLOY / "Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.timeout(1800)
def test_the_install_steps_of_the_image_run_here(tmp_path: Path) -> None:
    """Those of the build stage, in a folder and an environment of their own. Those of apt are left
    out: they need root, and what they install is on this machine."""
    dockerfile = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    for sources, into in re.findall(r"^COPY (?!--from)(.+) (\S+)$", dockerfile, re.MULTILINE):
        for source in sources.split():
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, tmp_path / "src" / into)
            else:
                (tmp_path / "src").mkdir(exist_ok=True)
                shutil.copy(ROOT / source, tmp_path / "src" / into)
    (command,) = re.findall(r"^RUN (.*pip install.*)$", dockerfile, re.MULTILINE)
    command = command.replace("/opt/medspan", str(tmp_path / "venv"))
    command = command.replace("python3 -m venv", f"{shlex.quote(sys.executable)} -m venv")
    environment = {**os.environ, "GGML_CUDA": "off"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path / "src",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    said = subprocess.run(
        [tmp_path / "venv/bin/medspan", "extract", "--json", "Metformin 500 mg twice daily."],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert '"Metformin"' in said.stdout, said.stderr[-2000:]
