"""A Ray that medspan starts: who can reach it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import pytest

from benchmarks.serve_process import free_port

ray = pytest.importorskip("ray")
from pipelines.private_ray import private_ray  # noqa: E402
from pipelines.ray_cluster import cluster  # noqa: E402

_LISTENS = "0A"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sockets are looked up in /proc")


def descendants(root: int) -> set[int]:
    """The ids of a process and of all that it started, directly or not."""
    children = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:  # it has ended meanwhile
            continue
        children[int(fields[1])].append(int(stat.parent.name))
    found, left = set(), [root]
    while left:
        pid = left.pop()
        found.add(pid)
        left += children[pid]
    return found


def listened(pids: set[int]) -> dict[str, list[str]]:
    """The addresses at which processes listen for TCP, each with their names."""
    owners: dict[str, int] = {}
    for pid in pids:
        for file in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                owners[str(file.readlink())] = pid
            except OSError:
                continue
    found = defaultdict(list)
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net") / table
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            fields = line.split()
            owner = owners.get(f"socket:[{fields[9]}]")
            if fields[3] == _LISTENS and owner is not None:
                address = _address(fields[1].split(":")[0])
                found[address].append(Path(f"/proc/{owner}/comm").read_text().strip())
    return found


def _address(digits: str) -> str:
    """An address of /proc/net: words of 32 bits, each with its lowest byte first."""
    raw = b"".join(bytes.fromhex(digits[i : i + 8])[::-1] for i in range(0, len(digits), 8))
    address = ip_address(raw)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


@pytest.mark.ray
def test_a_ray_of_this_machine_listens_on_loopback_and_wants_its_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)

    def worker() -> int:
        return os.getpid()

    before = descendants(os.getpid())
    with cluster():
        pid = ray.get(ray.remote(worker).remote())
        ours = descendants(os.getpid()) - before
        assert pid in ours
        found = listened(ours)
        address = ray.get_runtime_context().gcs_address
        stranger = _asks(address, {"RAY_AUTH_MODE": "disabled"})
        wrong = _asks(address, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "no"})
        right = _asks(address, {})
    assert sorted(found) == ["127.0.0.1"], found
    assert any("gcs_server" in name for name in found["127.0.0.1"])
    assert (stranger, wrong, right) == (False, False, True)
    assert "RAY_AUTH_MODE" not in os.environ, "a Ray started later here would want a token"


def _asks(address: str, environment: dict[str, str]) -> bool:
    """Return True if a Ray answers another process."""
    code = "import sys; from ray._raylet import GcsClient\n"
    code += "print(len(GcsClient(sys.argv[1]).get_all_node_info(timeout=20)), 'node')"
    command = [sys.executable, "-c", code, address]
    asked = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=200
    )
    return asked.stdout == "1 node\n"


@pytest.mark.ray
def test_the_documented_ray_for_short_runs_listens_on_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The settings of docs/how-to/troubleshoot.md, with a folder and a token of the test's own."""
    page = Path(__file__).parents[2] / "docs/how-to/troubleshoot.md"
    settings = dict(re.findall(r"(RAY_(?:AUTH_MODE|USAGE\w+|ENABLE\w+))=(\w+)", page.read_text()))
    assert len(settings) == 3
    for name, value in {**settings, "RAY_AUTH_TOKEN": "0" * 64}.items():
        monkeypatch.setenv(name, value)
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short: a socket's path has 107 bytes at most
    flags = ["--head", "--node-ip-address", "127.0.0.1", "--include-dashboard=false"]
    assert all(flag in page.read_text() for flag in flags)
    ray_command = [str(Path(sys.executable).parent / "ray"), "start", *flags]
    ports = ["--port", "0", "--ray-client-server-port", str(free_port())]
    ports += ["--temp-dir", str(folder)]
    try:
        subprocess.run([*ray_command, *ports], check=True, capture_output=True, timeout=200)
        found = listened(_of_folder(folder))
        assert sorted(found) == ["127.0.0.1"], found
        assert any("gcs_server" in name for name in found["127.0.0.1"])
    finally:
        for pid in _of_folder(folder):  # `ray stop` would stop other tests' Ray, too
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def _of_folder(folder: Path) -> set[int]:
    """The processes whose command or environment names a folder, this one aside."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            if str(folder).encode() in told:
                found.add(int(process.name))
    return found - {os.getpid()}


def test_token_settings_of_the_environment_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    with private_ray():
        assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert "RAY_AUTH_TOKEN" not in os.environ
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "token-file")
    with private_ray():
        assert "RAY_AUTH_TOKEN" not in os.environ
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == "token-file"


def test_no_usage_statistics_leave_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._common.usage.usage_lib import usage_stats_enabled

    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    with private_ray():
        assert not usage_stats_enabled()
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    with private_ray():
        assert usage_stats_enabled()
