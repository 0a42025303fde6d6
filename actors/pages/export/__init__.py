"""Write the words of pages as searchable PDF, hOCR or ALTO.

Each writer goes page by page and never holds the pixels of more than one page.
"""

from __future__ import annotations

from actors.pages.export.alto import write_alto
from actors.pages.export.hocr import write_hocr
from actors.pages.export.searchable_pdf import write_searchable_pdf

__all__ = ["write_alto", "write_hocr", "write_searchable_pdf"]
