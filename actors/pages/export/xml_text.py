"""Text that may stand in an XML 1.0 document."""

from __future__ import annotations

import re
from xml.sax.saxutils import quoteattr

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_text(text: str) -> str:
    """Replace what XML cannot have, such as control characters, by U+FFFD."""
    return _NOT_XML.sub("\ufffd", text)


def attribute(text: str) -> str:
    """Return the text as a quoted attribute value."""
    return quoteattr(xml_text(text))
