"""A new PDF, written object by object: what has been written is not kept."""

from __future__ import annotations

from typing import BinaryIO

from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    FloatObject,
    IndirectObject,
    NameObject,
    NumberObject,
    PdfObject,
)

_HEADER = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"  # the second line says that the file is binary


class PdfStream:
    """Format: ISO 32000-1, 7.5 (file structure)."""

    def __init__(self, out: BinaryIO) -> None:
        self._out, self._at = out, 0
        self._places: list[int] = []  # byte offsets of the objects, numbered from 1
        self._pages: list[IndirectObject] = []
        self._write(_HEADER)
        self._tree = self._reserve()

    def add(self, value: PdfObject) -> IndirectObject:
        """Write an object and return a reference to it."""
        reference = self._reserve()
        self._put(reference, value)
        return reference

    def add_page(
        self, size: tuple[float, float], contents: IndirectObject, resources: DictionaryObject
    ) -> None:
        """Write a page of ``size`` (width, height) in points."""
        page: dict[str, PdfObject] = {
            "/Type": NameObject("/Page"),
            "/Parent": self._tree,
            "/MediaBox": ArrayObject(map(FloatObject, (0, 0, *size))),
            "/Resources": resources,
            "/Contents": contents,
        }
        self._pages.append(self.add(_dictionary(page)))

    def finish(self) -> None:
        """Write the tree of pages and the table of all objects."""
        tree: dict[str, PdfObject] = {
            "/Type": NameObject("/Pages"),
            "/Kids": ArrayObject(self._pages),
            "/Count": NumberObject(len(self._pages)),
        }
        self._put(self._tree, _dictionary(tree))
        catalog: dict[str, PdfObject] = {"/Type": NameObject("/Catalog"), "/Pages": self._tree}
        trailer: dict[str, PdfObject] = {
            "/Root": self.add(_dictionary(catalog)),
            "/Size": NumberObject(len(self._places) + 1),
        }
        start = self._at
        self._write(f"xref\n0 {len(self._places) + 1}\n0000000000 65535 f \n".encode())
        for place in self._places:
            self._write(f"{place:010} 00000 n \n".encode())
        self._write(b"trailer\n")
        self._write_value(_dictionary(trailer))
        self._write(f"\nstartxref\n{start}\n%%EOF\n".encode())

    def _reserve(self) -> IndirectObject:
        self._places.append(0)
        return IndirectObject(len(self._places), 0, self)

    def _put(self, reference: IndirectObject, value: PdfObject) -> None:
        self._places[reference.idnum - 1] = self._at
        self._write(f"{reference.idnum} 0 obj\n".encode())
        self._write_value(value)
        self._write(b"\nendobj\n")

    def _write_value(self, value: PdfObject) -> None:
        counted = _Counted(self._out)
        value.write_to_stream(counted)  # type: ignore[arg-type]  # it only writes
        self._at += counted.size

    def _write(self, content: bytes) -> None:
        self._out.write(content)
        self._at += len(content)


class _Counted:
    def __init__(self, out: BinaryIO) -> None:
        self._out, self.size = out, 0

    def write(self, content: bytes) -> int:
        self._out.write(content)
        self.size += len(content)
        return len(content)


def _dictionary(values: dict[str, PdfObject]) -> DictionaryObject:
    return DictionaryObject({NameObject(name): value for name, value in values.items()})
