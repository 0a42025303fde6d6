"""Fixtures of the page's tests: a browser, and a page that is open and had no trouble.

A test file has them by `pytest_plugins = ["support.browser_fixtures"]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from support.browser import CHROMIUM, Nesting, Served, says
from support.serve import FakeExtractor, make_app

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def fake() -> FakeExtractor:
    return Nesting()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, fake: FakeExtractor) -> Iterator[Served]:
    labels = ("Stage", "Cancer", "Disease", "Drug", "Substance", "Sign")
    folder = tmp_path_factory.mktemp("page")
    (folder / "ward.yaml").write_text(
        "name: ward\nlabels: {Medicine: {synonyms: [Drug]}, Sign: }\n"
    )
    serve = "{guidelines: [ward.yaml]}"
    served = Served(make_app(folder, serve, fake=fake, labels=labels, ocr=True))
    yield served
    served.stop()


@pytest.fixture(scope="module")
def context(browser: Any) -> Iterator[Any]:
    context = browser.new_context()
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def page(context: Any, served: Served) -> Iterator[Page]:
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
    page.on(
        "request",
        lambda r: None if r.url.startswith(served.url) else troubles.append(f"asked {r.url}"),
    )
    page.goto(served.url)
    says(page, "#status", "entit")
    yield page
    page.close()
    # The browser itself reports an answer of 503; a test may ask for one.
    troubles = [trouble for trouble in troubles if "status of 503" not in trouble]
    assert troubles == [], "an error in the page, or a request to somewhere else"
