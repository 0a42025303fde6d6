"""From what a request gives to Documents: a text, a picture, a file's bytes, or an address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actors.pages import kind_of
from actors.spans import Document, Failure
from pipelines.serve.asked import DocumentIn
from pipelines.serve.fetching import Fetcher, NotFetched, Room


@dataclass(frozen=True, slots=True)
class Given:
    """A document as a request gives it: exactly one of ``text``, ``image``, ``url`` and ``file``
    (bytes that may be either) is set."""

    id: str
    text: str | None = None
    image: bytes | None = None
    url: str | None = None
    file: bytes | None = None
    prompt: str | None = None

    @classmethod
    def of(cls, document: DocumentIn, place: int) -> Given:
        """What stands in a JSON body, at this place of its list."""
        id_ = document.id_at(place)
        return cls(id_, document.text, document.image, document.url, prompt=document.prompt)

    @property
    def is_picture(self) -> bool:
        """Whether it is one, or may be one for all that is known."""
        return self.image is not None or self.url is not None or _picture(self.file)


async def opened(
    given: Sequence[Given], fetcher: Fetcher, characters: int, pictures: bool, room: Room
) -> list[Document | Failure]:
    """The documents, in order; what cannot be had is a Failure and fails alone.

    ``characters``: of one text at most; ``pictures``: whether they are read; ``room``: bytes that
    addresses may bring. One address is read after the other: they share the room.
    """
    found: list[Document | Failure] = []
    for one in given:
        content = one.file
        if one.url is not None:
            try:
                content = await fetcher.fetch(one.url, room)
            except NotFetched as reason:
                found.append(Failure("NotFetched", str(reason)))
                continue
        if content is None:
            found.append(Document(one.id, one.text, one.image, one.prompt))
        else:
            found.append(_document(one, content, characters, pictures))
    return found


def _document(given: Given, content: bytes, characters: int, pictures: bool) -> Document | Failure:
    if _picture(content):
        if not pictures:
            return Failure("PicturesNotRead", "this server has no reader of pictures")
        return Document(given.id, image=content, prompt=given.prompt)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        return Failure("NotText", f"no picture, and not UTF-8 at byte {error.start}")
    if len(text) > characters:
        return Failure("DocumentTooLarge", "it has more characters than is allowed")
    return Document(given.id, text, prompt=given.prompt)


def _picture(content: bytes | None) -> bool:
    return content is not None and kind_of(content) is not None
