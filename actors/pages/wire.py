"""Messages to and from the page decoding process: an object followed by raw bytes."""

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
    """Receive the next message and its bytes. Raises EOFError if the other side has closed."""
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
