"""The ``curl`` calls of the documentation, sent to a server as they are printed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support import ROOT
from support.server_process import Server, serving

from pipelines.deidentification import KEY

pytestmark = [pytest.mark.ray, pytest.mark.weights, pytest.mark.timeout(600)]

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs/how-to").glob("*.md"))]


def calls(page: Path) -> Iterator[tuple[str, str]]:
    """Every curl command of a page's console blocks, and the output printed below it."""
    for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
        for prompt in re.split(r"^\$ ", block, flags=re.M)[1:]:
            if prompt.startswith("curl "):
                yield _split(prompt)


def _split(prompt: str) -> tuple[str, str]:
    """Divide what follows a prompt where its command ends: outside quotes, after a line that
    neither a backslash nor a pipe continues."""
    lines = prompt.splitlines()
    for end in range(1, len(lines) + 1):
        command = "\n".join(lines[:end])
        if not command.endswith(("\\", "|")) and command.count("'") % 2 == 0:
            return command, "\n".join(lines[end:]).strip()
    raise AssertionError(f"a command without an end: {prompt}")


CALLS = [
    pytest.param(command, printed, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, (command, printed) in enumerate(calls(page), 1)
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The quickstart's server, with OCR and the section `deidentify` that its page needs."""
    folder = tmp_path_factory.mktemp("curl")
    config = yaml.safe_load((ROOT / "configs/quickstart.yaml").read_text(encoding="utf-8"))
    config["source"]["path"] = str(ROOT / "configs/samples/quickstart")
    config["sink"]["path"] = str(folder / "out")
    config["ocr"] = {"model": "starter:ocr"}
    config["deidentify"] = {"policies": {"NAME": "surrogate", "DATE": "shift"}}
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(KEY, "0123456789abcdef" * 4)
        with serving(path, folder / "serve.log") as server:
            yield server


@pytest.mark.parametrize(("command", "printed"), CALLS)
def test_a_curl_call_of_a_page(
    command: str,
    printed: str,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As printed, on another port: curl's own settings lead there, and make it fail on an error."""
    for tool in ("curl", "jq"):
        if tool in shlex.split(command) and shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    address = server.url.removeprefix("http://")
    (tmp_path / ".curlrc").write_text(
        f'connect-to = "localhost:8000:{address}"\nnoproxy = "*"\nfail-with-body\nmax-time = 240\n'
    )
    monkeypatch.setenv("CURL_HOME", str(tmp_path))
    (tmp_path / "note.txt").write_text("Metformin 500 mg twice daily.")
    shutil.copy(ROOT / "configs/samples/pages/letter-and-scan.pdf", tmp_path / "scan.pdf")
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if command.endswith("> scan-clean.pdf"):
        assert (tmp_path / "scan-clean.pdf").read_bytes().startswith(b"%PDF")
    elif printed:
        assert done.stdout.strip() == printed
    else:
        (document,) = json.loads(done.stdout)["documents"]
        assert document["status"] == "ok"
        assert document["entities"]


def test_the_pages_that_show_curl_are_found() -> None:
    pages = {str(call.id).rpartition("-")[0] for call in CALLS}
    assert pages >= {"README", "serve", "de-identify"}
