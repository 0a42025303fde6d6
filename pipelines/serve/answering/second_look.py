"""The second look at a request's de-identified documents: their texts and their covered pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from actors.spans import Document, Extraction
from pipelines.release import Release, Releaser
from pipelines.serve.answering.covered_pages import CoveredDocument
from pipelines.serve.answering.deidentify_answer import KnownPatient
from pipelines.serve.answering.pending import PendingDocument

ExtractAll = Callable[[Sequence[Document]], Awaitable[Sequence[Sequence[Extraction]]]]
"""Has every model read documents; returns a list of extractions for each model."""


async def look_again(
    pending: Sequence[PendingDocument],
    releases: list[Release],
    known: Sequence[KnownPatient],
    covered: Mapping[int, CoveredDocument],
    releaser: Releaser,
    extract: ExtractAll,
) -> None:
    """Put what is still found into ``releases``. ``covered``: the pages of documents, by index.

    Models read the new texts, unless by ``second_look: rules``, and what OCR read of pages where
    that is another text.
    """
    models = releaser.config.second_look == "models"
    texts = {at: one.done.text for at, one in enumerate(releases) if one.done.text is not None}
    pages = {at: one.seen.text for at, one in covered.items() if at in texts}
    others = {at: text for at, text in pages.items() if text != texts[at]}
    of_texts: dict[int, list[Extraction]] = {at: [] for at in texts}
    of_pages: dict[int, list[Extraction]] = {at: [] for at in others}
    if models and texts:
        asked = [
            replace(pending[at].document, text=text, image=None, sections=())
            for at, text in (*texts.items(), *others.items())
        ]
        steps = await extract(asked)
        found = [[step[i] for step in steps] for i in range(len(asked))]
        of_texts = dict(zip(texts, found, strict=False))
        of_pages = dict(zip(others, found[len(texts) :], strict=True))
    for at in texts:
        if models:
            releases[at] = releaser.second_look(releases[at], of_texts[at])
        if at in pages:
            releases[at] = releaser.page_look(
                releases[at],
                pending[at].document.text or "",
                covered[at].seen,
                of_pages.get(at, of_texts[at]),
                known[at].names,
            )
