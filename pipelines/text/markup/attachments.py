"""Files within messages: FHIR attachments, HL7 v2 observations of type ED, bodies of C-CDA."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Callable, Sequence

from pipelines.text.encoding import text_of
from pipelines.text.errors import BadFileError, BadMarkupError
from pipelines.text.markup.docx import docx_text
from pipelines.text.markup.line_layout import Visible, joined, left_out_words

_HTML = ("text/html", "application/xhtml+xml")
_RTF = ("text/rtf", "application/rtf")
WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_CHARSET = re.compile(r"charset=\"?([\w.:-]+)", re.IGNORECASE)
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,40}/[\w.+-]{1,80}")


class Attachments:
    """The texts of the files of one message, in their order; what is none is counted."""

    def __init__(self, visible: Callable[[str, str], Visible]) -> None:
        self._visible = visible
        self._texts: list[Visible] = []
        self._left_out: Counter[str] = Counter()
        self._damaged = ""

    def add(self, media_type: str, data: str) -> None:
        """A file in base64."""
        kind = media_type.partition(";")[0].strip().lower()
        try:
            found = self._text(kind, media_type, data)
        except BadMarkupError as error:
            self._damaged = self._damaged or str(error)
            self.leave_out(f"damaged {media_type_name(kind)}")
            return
        if found is None:
            self.leave_out(media_type_name(kind))
        elif found.text:
            self._texts.append(found)

    def leave_out(self, words: str) -> None:
        """A file that is not read."""
        self._left_out[words] += 1

    def joined(self, before: Sequence[Visible] = (), instead: Sequence[Visible] = ()) -> Visible:
        """All texts after those of ``before``; those of ``instead`` where there are none. Raises
        BadMarkupError where no file is left because of damaged ones."""
        texts = [one for one in (*before, *self._texts) if one.text]
        if not texts and self._damaged:
            raise BadMarkupError(self._damaged)
        texts = texts or [one for one in instead if one.text]
        return joined(texts, left_out_words("attachments", self._left_out))

    def _text(self, kind: str, media_type: str, data: str) -> Visible | None:
        word = kind == WORD
        xml = kind.endswith(("/xml", "+xml")) and kind not in _HTML
        if not (word or xml or kind.startswith("text/") or kind in (*_HTML, *_RTF)):
            return None  # a picture or PDF
        named = _CHARSET.search(media_type)
        try:
            content = base64.b64decode(data)
            if word:
                return docx_text(content)
            text = content.decode(named[1]) if named else text_of(content)
            text.encode()  # lone surrogates stand for what is not UTF-8
        except (binascii.Error, BadFileError, LookupError, ValueError):
            raise BadMarkupError("an attachment is not base64 of text in its charset") from None
        if kind in _HTML:
            return self._visible(text, "html")
        if kind in _RTF:
            return self._visible(text, "rtf")
        return self._visible(text, "cda") if xml else Visible(text)


def media_type_name(kind: str) -> str:
    """A media type, unless it is anything else that somebody wrote there."""
    return kind if _MEDIA_TYPE.fullmatch(kind) else "of an unknown type"
