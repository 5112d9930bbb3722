"""Arrow tables between two processes: in anonymous memory whose file descriptor is passed over a socket."""

from __future__ import annotations

import json
import mmap
import os
import socket
import struct
import tempfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping

LENGTH = struct.Struct("<I")


def send(connection: socket.socket, message: Mapping[str, object], rows: pa.Table | None = None) -> None:
    """Sends a message, and the memory with the rows; it is gone when nobody holds it any more."""
    text = json.dumps(message).encode()
    held = [] if rows is None else [_write(rows)]
    try:
        socket.send_fds(connection, [LENGTH.pack(len(text))], held)
        connection.sendall(text)
    finally:
        for descriptor in held:
            os.close(descriptor)


def receive(connection: socket.socket) -> tuple[dict[str, Any], pa.Table | None] | None:
    """The next message and its rows, which are mapped and not copied; None once the other side has gone."""
    begin, held, _, _ = socket.recv_fds(connection, LENGTH.size, 1)
    try:
        text = _exactly(connection, LENGTH.unpack(begin)[0]) if len(begin) == LENGTH.size else b""
        return (json.loads(text), _read(held[0]) if held else None) if text else None
    finally:
        for descriptor in held:
            os.close(descriptor)


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        more = connection.recv(length - len(data))
        if not more:
            return b""
        data += more
    return bytes(data)


def _write(rows: pa.Table) -> int:
    descriptor = _memory()
    with open(descriptor, "wb", buffering=0, closefd=False) as file, pa.ipc.new_stream(file, rows.schema) as stream:
        stream.write_table(rows)
    return descriptor


def _read(descriptor: int) -> pa.Table:
    mapped = mmap.mmap(descriptor, os.fstat(descriptor).st_size, prot=mmap.PROT_READ)  # the table holds it
    return pa.ipc.open_stream(pa.py_buffer(mapped)).read_all()


def _memory() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("headrace")
    with tempfile.TemporaryFile() as file:  # has no name from the beginning
        return os.dup(file.fileno())
