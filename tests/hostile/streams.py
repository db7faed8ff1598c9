# SPDX-License-Identifier: Apache-2.0
"""Compressed streams, right and wrong. zstd by hand, from raw and repeated blocks: Python has no zstd of its own."""
import struct
import zlib


def deflated(data, level=6):
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def gzip(data, level=6, flags=0, extra=b"", method=8, crc=None, size=None):
    """One member. `extra` are the bytes of the optional header fields that `flags` announce."""
    head = b"\x1f\x8b" + bytes([method, flags]) + b"\0" * 4 + b"\0\3" + extra
    check = zlib.crc32(data) if crc is None else crc
    length = len(data) & 0xffffffff if size is None else size
    return head + deflated(data, level) + struct.pack("<II", check, length)


ZSTD_MAGIC = struct.pack("<I", 0xFD2FB528)
MAX_BLOCK = 128 << 10


def zstd_block(kind, size, content, last):
    return struct.pack("<I", last | kind << 1 | size << 3)[:3] + content


def zstd(data, window_log=20, end=True):
    """One frame of raw blocks, without content size and checksum."""
    pieces = [data[i:i + MAX_BLOCK] for i in range(0, len(data), MAX_BLOCK)] or [b""]
    blocks = b"".join(zstd_block(0, len(piece), piece, end and i == len(pieces) - 1) for i, piece in enumerate(pieces))
    return ZSTD_MAGIC + bytes([0, (window_log - 10) << 3]) + blocks


def zstd_zeros(blocks):
    """One frame that unpacks to so many blocks of 128 KiB of zeros; 4 bytes each."""
    body = zstd_block(1, MAX_BLOCK, b"\0", 0) * (blocks - 1) + zstd_block(1, MAX_BLOCK, b"\0", 1)
    return ZSTD_MAGIC + bytes([0, (20 - 10) << 3]) + body


def zstd_skippable(content):
    return struct.pack("<II", 0x184D2A50, len(content)) + content
