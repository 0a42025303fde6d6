"""The cost of a click on the web page with a long document.

    python -m benchmarks.page [--repeat 5]

Chromium shows a note of 200,000 characters with 17,500 entities, from a server with a model that
finds fixed words. Reported is the time that the page's main thread computes for each action, in
milliseconds of CPU: unlike elapsed time, it does not depend on what else the machine does. Needs
Chromium and medspan[dev]. The last line of stdout is one JSON document, kept as
benchmarks/results/page.json:

    slowest_over_100_ms   the median of the slowest action over 100 ms, after which a person notices
                          a delay
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import tempfile
import threading
import time
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import CDPSession, Page, sync_playwright

from actors.guideline import Guideline
from actors.spans import Document, Extraction, OnText, spanning
from benchmarks.machine import machine
from benchmarks.serve_process import ROOT, free_port
from pipelines.config import load_pipeline
from pipelines.serve.answering.models import LocalModels, ModelFacts
from pipelines.serve.catalogue import catalogue_of
from pipelines.serve.http.app import create_app

LINE = "Metformin 500 mg daily against diabetes, insulin at night, aspirin since March.\n"
WORDS = re.compile("Metformin|500 mg|daily|diabetes|insulin|aspirin|March")
NOTE = LINE * 2500
CLICK = "document.querySelector('{}').click()"
ACTIONS = {
    "filter by label": CLICK.format("#legend [data-label=insulin]"),
    "show the table": CLICK.format("#t-table"),
    "show JSON": CLICK.format("#t-json"),
    "show curl": CLICK.format("#t-curl"),
    "back to the text": CLICK.format("#t-text"),
    "minimum score": "document.querySelector('#score').dispatchEvent(new Event('input'))",
}


class FixedWords:
    """A model that finds seven words a line."""

    fingerprint = "0" * 64

    def submit(
        self, document: Document, guideline: Guideline | None = None, on_text: OnText | None = None
    ) -> Future[Extraction]:
        """As of an Extractor."""
        text = document.text or ""
        entities = tuple(
            spanning(text, m.start(), m.end(), m[0].split()[-1], score=0.9, model="words")
            for m in WORDS.finditer(text)
        )
        future: Future[Extraction] = Future()
        future.set_result(Extraction(document.id, "words", self.fingerprint, entities=entities))
        return future


def serve(folder: Path) -> str:
    """Serve the page from a thread of this process; returns its URL."""
    file = folder / "pipeline.yaml"
    file.write_text(
        "name: page\nsource: {path: notes/}\nsteps: [{model: 'starter:token-classifier'}]\n"
        "sink: {path: out/}\n"
    )
    name = "starter-token-classifier"
    facts = ModelFacts(name, "onnx", FixedWords.fingerprint, (), False, "labels")
    catalogue = catalogue_of(load_pipeline(file))
    app = create_app(catalogue, LocalModels({name: FixedWords()}, {name: facts}))
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    return f"http://127.0.0.1:{port}/"


def seconds(session: CDPSession) -> float:
    """CPU seconds of the page's main thread so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))


def cost(page: Page, session: CDPSession, script: str) -> float:
    """CPU milliseconds of an action, with the layout and painting that follow from it."""
    page.wait_for_timeout(300)
    before = seconds(session)
    page.evaluate(script)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    page.wait_for_timeout(100)
    return 1000 * (seconds(session) - before)


def measure(repeat: int) -> dict[str, Any]:
    """Milliseconds of each action, the median and all."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(serve(Path(name)))
        page.locator("#status", has_text="entit").wait_for()
        page.uncheck("#live")
        page.eval_on_selector("#text", "(box, text) => { box.value = text; }", NOTE)
        page.click("#go")
        page.locator("#status", has_text="17,500").wait_for(timeout=120_000)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        times: dict[str, list[float]] = {action: [] for action in ACTIONS}
        for _ in range(repeat):
            for action, script in ACTIONS.items():
                times[action].append(cost(page, session, script))
        browser.close()
    return {
        action: {"median": round(statistics.median(all_), 1), "all": [round(x, 1) for x in all_]}
        for action, all_ in times.items()
    }


def main() -> None:
    """Measure, print and keep the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    actions = measure(options.repeat)
    slowest = max(one["median"] for one in actions.values())
    result = {
        "benchmark": "page",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "characters": len(NOTE),
        "cpu_milliseconds": actions,
        "ratios": {"slowest_over_100_ms": round(slowest / 100, 3)},
    }
    (ROOT / "benchmarks/results/page.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
