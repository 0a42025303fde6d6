"""OCR of images and PDFs given on the command line, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from actors.pages import OcrResult
from actors.spans import Document, Failure


@dataclass(frozen=True, slots=True)
class Pictures:
    """Documents with their text, and the OCR result or failure of each image by document id."""

    documents: list[Document]
    readings: dict[str, OcrResult]
    failures: dict[str, Failure]


def read_pictures(documents: Sequence[Document], ocr: str) -> Pictures:
    """Read the images among the documents; those that fail are left out of ``documents``.

    With ``ocr`` "none" all documents stay as they are.
    """
    if ocr == "none":
        return Pictures(list(documents), {}, {})
    pictures = [document for document in documents if document.image is not None]
    read = Pictures([], {}, {})
    if pictures:
        from actors.config.ocr import load_ocr
        from actors.ocr import OcrReader

        with OcrReader(load_ocr(ocr)) as reader:
            for document, found in zip(pictures, reader.read(pictures), strict=True):
                if isinstance(found, Failure):
                    read.failures[document.id] = found
                else:
                    read.readings[document.id] = found
    for document in documents:
        reading = read.readings.get(document.id)
        if reading is not None:
            read.documents.append(replace(document, text=reading.text))
        elif document.id not in read.failures:
            read.documents.append(document)
    return read
