"""Deserialise Java values: strings, boxed numbers, arrays, and objects of plain fields.

Reads the stream of java.io.ObjectOutputStream as data: no class is looked up and no code is run.
Objects with custom serialisation (writeObject) are rejected.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

_MAGIC = b"\xac\xed\x00\x05"
_NULL, _REFERENCE, _CLASS, _END = 0x70, 0x71, 0x72, 0x78
_FIRST_HANDLE = 0x7E0000
_CUSTOM = 0x01 | 0x04
_PRIMITIVES = {"B": "b", "C": "H", "D": "d", "F": "f", "I": "i", "J": "q", "S": "h", "Z": "?"}
_BOXES = {"java.lang.Integer", "java.lang.Long", "java.lang.Short", "java.lang.Byte",
          "java.lang.Double", "java.lang.Float", "java.lang.Boolean"}  # fmt: skip


class NotJava(ValueError):
    """Bytes that are not a supported serialised Java value."""


@dataclass(slots=True)
class Instance:
    """An object: its class name, its fields and those of its superclasses."""

    name: str
    fields: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class _Class:
    name: str
    flags: int
    fields: list[tuple[str, str]]
    parent: _Class | None


def read_java(data: bytes) -> object:
    """Read the first value of a stream; boxed numbers become numbers, arrays lists."""
    if not data.startswith(_MAGIC):
        raise NotJava("not a Java object stream")
    try:
        return _Stream(data).value()
    except (struct.error, IndexError, KeyError, RecursionError, UnicodeDecodeError) as error:
        raise NotJava("the Java object stream is truncated or damaged") from error


class _Stream:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = len(_MAGIC)
        self._handles: list[object] = []

    def value(self) -> object:
        kind = self._byte()
        match kind:
            case 0x70:  # null
                return None
            case 0x71:  # a reference to an earlier value
                return self._dereference()
            case 0x73:
                return self._object()
            case 0x74:  # a string
                return self._text(self._unpack("H"))
            case 0x75:
                return self._array()
            case 0x7C:  # a long string
                return self._text(self._unpack("q"))
        raise NotJava(f"unsupported Java value of kind {kind:#x}")

    def _dereference(self) -> object:
        index = self._unpack("i") - _FIRST_HANDLE
        if not 0 <= index < len(self._handles):
            raise NotJava("a dangling reference")
        return self._handles[index]

    def _object(self) -> object:
        class_desc = self._class()
        if class_desc is None:
            raise NotJava("an object without a class")
        instance = Instance(class_desc.name)
        handle = self._remember(instance)
        for one in _lineage(class_desc):
            if one.flags & _CUSTOM != 0:
                raise NotJava(f"{one.name} uses custom serialisation")
            for kind, name in one.fields:
                instance.fields[name] = self._field(kind)
        if class_desc.name in _BOXES:
            self._handles[handle] = instance.fields["value"]
            return instance.fields["value"]
        return instance

    def _array(self) -> list[object]:
        class_desc = self._class()
        if class_desc is None:
            raise NotJava("an array without a class")
        items: list[object] = []
        self._remember(items)
        kind = class_desc.name[1:2]
        for _ in range(self._unpack("i")):
            items.append(self._field(kind))
        return items

    def _class(self) -> _Class | None:
        kind = self._byte()
        if kind == _NULL:
            return None
        if kind == _REFERENCE:
            found = self._dereference()
            if not isinstance(found, _Class):
                raise NotJava("a reference to a value that is not a class")
            return found
        if kind != _CLASS:
            raise NotJava(f"unsupported class of kind {kind:#x}")
        class_desc = _Class(self._utf(), 0, [], None)
        self._unpack("q")  # serialVersionUID: only Java programs check it
        self._remember(class_desc)
        class_desc.flags = self._byte()
        for _ in range(self._unpack("H")):
            code = chr(self._byte())
            name = self._utf()
            if code not in _PRIMITIVES:
                self.value()  # the name of the field's class
            class_desc.fields.append((code, name))
        if self._byte() != _END:
            raise NotJava("a class with annotations")
        class_desc.parent = self._class()
        return class_desc

    def _field(self, kind: str) -> object:
        return self._unpack(_PRIMITIVES[kind]) if kind in _PRIMITIVES else self.value()

    def _text(self, length: int) -> str:
        raw = self._data[self._at : self._at + length]
        if length < 0 or len(raw) < length:
            raise NotJava("the Java object stream is truncated or damaged")
        self._at += length
        text = _modified_utf8(raw)
        self._remember(text)
        return text

    def _utf(self) -> str:
        length = self._unpack("H")
        self._at += length
        return _modified_utf8(self._data[self._at - length : self._at])

    def _remember(self, value: object) -> int:
        self._handles.append(value)
        return len(self._handles) - 1

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _unpack(self, code: str) -> Any:
        form = f">{code}"
        (value,) = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return value


def _lineage(class_desc: _Class) -> list[_Class]:
    """Return the class and its superclasses, topmost first, as their fields are written."""
    line: list[_Class] = []
    one: _Class | None = class_desc
    while one is not None:
        line.insert(0, one)
        one = one.parent
    return line


def _modified_utf8(raw: bytes) -> str:
    """Decode Java's modified UTF-8: NUL in two bytes, and non-BMP characters as surrogate pairs."""
    text = raw.replace(b"\xc0\x80", b"\0").decode("utf-8", "surrogatepass")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
