"""Turn the inputs of a request (text, image, uploaded file or URL) into Documents."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from actors.pages import page_format
from actors.spans import Document, Failure, Section
from pipelines.offset_units import OffsetUnit
from pipelines.serve.answering.url_documents import ByteBudget, Fetcher, FetchError
from pipelines.serve.wire.requests import DocumentIn
from pipelines.text.errors import BadFileError, BadMarkupError
from pipelines.text.files import read_file


@dataclass(frozen=True, slots=True)
class InputDocument:
    """A document of a request. Exactly one of ``text``, ``image``, ``url`` and ``file`` (bytes of a
    text or an image) is set; ``sections`` are those that the client states of the text."""

    id: str
    text: str | None = None
    image: bytes | None = None
    url: str | None = None
    file: bytes | None = None
    prompt: str | None = None
    sections: tuple[Section, ...] = ()

    @classmethod
    def of(cls, document: DocumentIn, place: int, unit: OffsetUnit) -> InputDocument:
        """From a document of a JSON body, at index ``place`` of its list, with offsets in
        ``unit``."""
        return cls(
            document.id_at(place),
            document.text,
            document.image,
            document.url,
            prompt=document.prompt,
            sections=document.stated_sections(unit),
        )

    @property
    def is_picture(self) -> bool:
        """True if it is, or may turn out to be, an image or PDF."""
        return self.image is not None or self.url is not None or _picture(self.file)

    def is_read_otherwise(self, document: Document) -> bool:
        """True if the client does not have the text that offsets refer to: it came from a URL, or
        is not the content of the file."""
        text = document.text
        return self.url is not None or (
            self.file is not None and text is not None and text.encode() != self.file
        )


async def opened(
    inputs: Sequence[InputDocument],
    fetcher: Fetcher,
    characters: int,
    pictures: bool,
    budget: ByteBudget,
) -> list[Document | Failure]:
    """Open the inputs, in order; one that cannot be opened is a Failure and fails alone.

    ``characters``: maximum length of a text; ``pictures``: whether images are supported;
    ``budget``: bytes that URLs may download, and that each file may inflate to. URLs are fetched
    one at a time, as they share it.
    """
    found: list[Document | Failure] = []
    most_bytes = budget.left
    for one in inputs:
        content = one.file
        if one.url is not None:
            try:
                content = await fetcher.fetch(one.url, budget)
            except FetchError as reason:
                found.append(Failure("FetchError", str(reason)))
                continue
        if content is None:
            found.append(Document(one.id, one.text, one.image, one.prompt, one.sections))
        else:
            # In a thread: markup and compressed content take their time.
            found.append(
                await asyncio.to_thread(_document, one, content, characters, pictures, most_bytes)
            )
    return found


def _document(
    source: InputDocument, content: bytes, characters: int, pictures: bool, most_bytes: int
) -> Document | Failure:
    if _picture(content):
        if not pictures:
            return Failure("PicturesNotRead", "this server has no OCR stage and cannot read images")
        return Document(source.id, image=content, prompt=source.prompt)
    try:
        read = read_file(content, most_bytes, "limits.body_mb")
    except BadFileError as error:
        return Failure("NotText", str(error))
    except BadMarkupError as error:
        return Failure("BadMarkup", str(error))
    if len(read.text) > characters:
        return Failure("DocumentTooLarge", "it has more characters than limits.characters")
    return Document(
        source.id,
        read.text,
        prompt=source.prompt,
        sections=read.sections,
        problems=read.problems,
    )


def _picture(content: bytes | None) -> bool:
    return content is not None and page_format(content) is not None
