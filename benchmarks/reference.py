"""Shared by the two checks against transformers: the peer process and the exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import llama_cpp

HERE = Path(__file__).resolve().parent


def run_peer(script: str, python: str, *arguments: str | Path) -> None:
    """Run a script of this folder in another interpreter; its own words are shown where it
    fails."""
    command = [python, "-P", "-W", "ignore", str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stderr}\n{python} could not {arguments[0]}; see above")


def end(name: str, work: Path, families: dict[str, Any], holds: bool, **more: Any) -> NoReturn:
    """Keep and print the result; the exit status is 1 where the check does not hold."""
    result = {
        "benchmark": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "llama-cpp-python": llama_cpp.__version__,
            **json.loads((work / "versions.json").read_text()),
        },
        "holds": holds,
        "families": families,
        **more,
        "ratios": {},
    }
    (HERE / f"results/{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
    sys.exit(0 if holds else 1)
