"""Errors of an image or PDF. Messages contain numbers and format names only."""

from __future__ import annotations


class PageError(ValueError):
    """A file without usable pages; the class is the reason, recorded in the failed row."""


class EmptyFile(PageError):
    """The file has no bytes, or no pages."""


class UnknownFormat(PageError):
    """The content is not a supported format, whatever the file name says."""


class DamagedFile(PageError):
    """The content begins like a known format but is truncated or corrupt."""


class TooManyPixels(PageError):
    """A page exceeds the pixel limit; it was not decoded."""


class TooManyPages(PageError):
    """The file exceeds the page limit."""


class PasswordNeeded(PageError):
    """The PDF is encrypted and needs a password."""


class UnsupportedEncoding(PageError):
    """An encoding of pixels, or a document within DICOM, that nothing installed reads; if
    something can be installed for it, the message names it."""


class TooSlow(PageError):
    """Decoding or rendering a page exceeded the time limit and was stopped."""


class TooLarge(PageError):
    """Decoding or rendering a page exceeded the memory limit and was stopped."""
