"""Page images, on which the web page draws boxes."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from itertools import islice

from actors.pages import DecodeLimits, PageError, open_pages
from actors.spans import Document
from pipelines.markup.page_image import small

_MOST = 20


def sheets(document: Document, limits: DecodeLimits) -> list[bytes]:
    """The first pages of an image or PDF as downscaled WebP files, up to the first bad page."""
    found: list[bytes] = []
    with closing(open_pages(document.image or b"", replace(limits, text_layer=False))) as pages:
        try:
            for page in islice(pages, _MOST):
                if page.picture is not None:
                    found.append(small(page.picture))
        except PageError:
            pass  # keep the pages decoded so far
    return found
