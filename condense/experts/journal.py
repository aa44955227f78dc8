"""An append-only file of records with a checksum each: what is torn or damaged is found, and nothing is unpickled.

A record is a head of 64 bytes and a payload. The head, little-endian: magic (8 bytes), kind and number (uint32), length
of the payload (uint64), CRC-32 of the head so far (uint32), 4 zero bytes, SHA-256 of that and the payload.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from condense import files
from condense.errors import DamagedFile

_MAGIC = b"condens\x01"
_FIELDS = struct.Struct("<8sIIQ")
_HEAD = struct.Struct("<8sIIQI4x32s")
_SIGNED = 32  # bytes of the head in front of the SHA-256
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Record:
    """Where a record's payload lies in its file, and what it should hold."""

    kind: int
    number: int
    offset: int  # of the payload
    length: int
    head: bytes

    @property
    def end(self) -> int:
        """Where the next record begins."""
        return self.offset + self.length


class Damage(Exception):
    """A record that is not what was written; the message says where."""


def append(path: Path, end: int, kind: int, number: int, payload: bytes | memoryview) -> Record:
    """Adds a record behind the `end` bytes of a file, which is made where it is absent, and waits for the disk."""
    fields = _FIELDS.pack(_MAGIC, kind, number, len(payload))
    signed = fields + struct.pack("<I4x", zlib.crc32(fields))
    checksum = hashlib.sha256(signed)
    checksum.update(payload)
    head = signed + checksum.digest()
    files.append(path, [head, payload])
    return Record(kind, number, end + len(head), len(payload), head)


def records(path: Path) -> Iterator[Record]:
    """The records of a file in order, each verified; a torn end, as a killed writer leaves it, is not one.

    Raises:
        Damage: at the first record whose checksum does not fit.
    """
    total = path.stat().st_size
    with open(path, "rb") as handle:
        place = 0
        while place + _HEAD.size <= total:
            handle.seek(place)
            record = _head(handle.read(_HEAD.size), place)
            if record.end > total:
                return
            _verify(handle, record)
            yield record
            place = record.end


def payload(path: Path, record: Record) -> bytearray:
    """The verified payload of one record, read by a seek; the rest of the file is not touched.

    Raises:
        DamagedFile: when it is not what was written.
    """
    content = bytearray(record.length)
    with open(path, "rb") as handle:
        handle.seek(record.offset)
        read = handle.readinto(content)
    checksum = hashlib.sha256(record.head[:_SIGNED])
    checksum.update(content)
    if read != record.length or checksum.digest() != record.head[_SIGNED:]:
        raise DamagedFile(path, f"the record at byte {record.offset - _HEAD.size} is not what was written")
    return content


def _head(head: bytes, place: int) -> Record:
    magic, kind, number, length, crc, _ = _HEAD.unpack(head)
    if magic != _MAGIC or crc != zlib.crc32(head[: _FIELDS.size]):
        raise Damage(f"no record begins at byte {place}")
    return Record(kind, number, place + _HEAD.size, length, head)


def _verify(handle: IO[bytes], record: Record) -> None:
    checksum = hashlib.sha256(record.head[:_SIGNED])
    left = record.length
    while left > 0 and (block := handle.read(min(left, _BLOCK))):
        checksum.update(block)
        left -= len(block)
    if checksum.digest() != record.head[_SIGNED:]:
        raise Damage(f"the record at byte {record.offset - _HEAD.size} is not what was written")
