"""Takes the pictures of docs/images anew: ``python -m docs.screenshots``.

Runs both quickstarts and a server in a temporary folder, and photographs the reports and the page
with Chromium. Needs the dev extra and ``chromium`` on the path.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import urlopen

import yaml

from pipelines.deidentification import KEY

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs/images"
MEDSPAN = [sys.executable, "-c", "from pipelines.cli import main; main()"]
NOTE = (
    "Type 2 diabetes. Metformin 500 mg twice daily for 12 weeks, then insulin glargine 20 units "
    "at bedtime. No evidence of glaucoma.\n\nFamily history:\nMother had glaucoma.\n\n"
    "Plan: start latanoprost 0.005% once daily if intraocular pressure rises."
)
LETTER = (
    "Patient: John Smith, born 3 March 1961, MRN 4471120.\n"
    "12 Elm Street, Springfield, IL 62701\nPhone (312) 555-0199\n\n"
    "Dear Dr. Weber,\n\nMr. Smith, 63 years old, was admitted on 11 January 2024 and went home on "
    "19/01/2024. Type 2 diabetes and hypertension. Metformin 500 mg twice daily. No fever.\n\n"
    "SMITH, J. will be seen again on 14 May 2024.\n\nDr. Anna Weber"
)
PORT = 8317
SIZE: ViewportSize = {"width": 1280, "height": 860}


def main() -> None:
    """Write every picture."""
    from playwright.sync_api import sync_playwright

    with TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        report(browser, folder, "quickstart", "report.png")
        report(browser, folder, "quickstart-pages", "pages.png")
        with server(folder) as url:
            page = browser.new_page(viewport=SIZE)
            page.goto(url)
            read(page, NOTE)
            shoot(page, "serve-desktop.png")
            page.goto(url)  # an answer of before is no answer to the picture
            page.set_input_files("#file", ROOT / "configs/samples/pages/prescription-photo.jpg")
            shoot(page, "serve-page.png")
            page.close()
        with server(folder, deidentify={"preset": "strict"}) as url:
            shoot_deidentified(browser, url)
        browser.close()


def report(browser: Browser, folder: Path, pipeline: str, name: str) -> None:
    """Photograph the report of a quickstart's run."""
    sink = folder / pipeline
    subprocess.run(
        [*MEDSPAN, "run", f"configs/{pipeline}.yaml", "--sink", f"{sink}/"],
        cwd=ROOT,
        check=True,
    )
    (file,) = (sink / "_reports").glob("*.html")
    page = browser.new_page(viewport=SIZE)
    page.goto(file.as_uri())
    page.wait_for_timeout(2000)
    page.screenshot(path=IMAGES / name)
    page.close()


@contextlib.contextmanager
def server(folder: Path, **more: Any) -> Iterator[str]:
    """A server of the quickstart that reads pictures, too; its address. ``more``: sections."""
    config = yaml.safe_load((ROOT / "configs/quickstart.yaml").read_text(encoding="utf-8"))
    config |= {"ocr": {"model": "starter:ocr"}, **more}
    file = folder / "quickstart.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    process = subprocess.Popen(
        [*MEDSPAN, "serve", str(file), "--port", str(PORT)],
        cwd=ROOT,
        env=os.environ | {KEY: secrets.token_hex(32)},
    )
    url = f"http://127.0.0.1:{PORT}/"
    try:
        for _ in range(150):
            with contextlib.suppress(URLError, ConnectionError, TimeoutError):
                urlopen(f"{url}readyz", timeout=5)
                break
            time.sleep(2)
        yield url
    finally:
        process.terminate()
        process.wait(400)


def shoot_deidentified(browser: Browser, url: str) -> None:
    """Photograph a letter before and after."""
    page = browser.new_page(viewport=SIZE)
    page.goto(url)
    read(page, LETTER)
    page.click("#t-clean")
    page.locator("#clean-said").get_by_text("taken").wait_for(timeout=120_000)
    page.wait_for_timeout(1000)
    page.screenshot(path=IMAGES / "serve-deidentified.png")
    page.close()


def read(page: Page, text: str) -> None:
    """Have a text read: until then the page may show the answer to its example."""
    page.fill("#text", text)
    answered = page.locator("#marked").filter(has_text=text.partition("\n")[0])
    answered.wait_for(timeout=120_000)


def shoot(page: Page, name: str) -> None:
    """Photograph the page once it has its answer."""
    page.wait_for_timeout(1000)
    page.locator("#status").get_by_text("entit").wait_for(timeout=120_000)
    page.wait_for_timeout(1000)
    page.screenshot(path=IMAGES / name)


if __name__ == "__main__":
    main()
