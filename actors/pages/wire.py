"""Messages to and from the process that decodes pages: an object, and bytes after it."""

from __future__ import annotations

import pickle
import socket
import struct
from typing import Any

_SIZES = struct.Struct(">QQ")


def send(to: socket.socket, message: object, payload: memoryview | bytes = b"") -> None:
    """Send a message with its bytes, e.g. the pixels of a page. Raises OSError."""
    head = pickle.dumps(message)
    to.sendall(_SIZES.pack(len(head), len(payload)) + head)
    to.sendall(payload)


def receive(source: socket.socket) -> tuple[Any, bytearray]:
    """The next message and its bytes. Raises EOFError where the other side has ended."""
    head, payload = _SIZES.unpack(_exactly(source, _SIZES.size))
    return pickle.loads(_exactly(source, head)), _exactly(source, payload)


def _exactly(source: socket.socket, size: int) -> bytearray:
    content = bytearray(size)
    view, filled = memoryview(content), 0
    while filled < size:
        try:
            count = source.recv_into(view[filled:])
        except ConnectionResetError:
            count = 0
        if not count:
            raise EOFError
        filled += count
    return content
