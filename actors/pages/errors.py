"""What can be wrong with a picture or PDF. Messages hold numbers and names of formats only."""

from __future__ import annotations


class PageError(ValueError):
    """A file that gives no pages; the class says why, and is what a failed row is filed under."""


class EmptyFile(PageError):
    """There are no bytes, or no pages in them."""


class UnknownFormat(PageError):
    """The content is of no kind that is read here, whatever the file's name says."""


class DamagedFile(PageError):
    """The content begins like a known format and does not go on like one: cut off or corrupt."""


class TooManyPixels(PageError):
    """A page is larger than the limit; it was not decoded."""


class TooManyPages(PageError):
    """The file has more pages than the limit."""


class PasswordNeeded(PageError):
    """The PDF is encrypted, and opens only with a password."""


class UnsupportedEncoding(PageError):
    """A DICOM file whose pixels are compressed in a way that no decoder here reads."""


class TooSlow(PageError):
    """Decoding or rendering a page took longer than the limit; it was ended."""


class TooLarge(PageError):
    """Decoding or rendering a page took more memory than the limit; it was ended."""
