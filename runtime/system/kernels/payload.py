"""Compressed content by its first bytes: gzip, xz, lzma, bzip2, lz4 and zstd.

Kernel images append the size of the content to some payloads (`size_append` in the kernel's scripts/Makefile.lib), so data after the
end of a stream is left alone. lz4 and zstd have no reader in Python's library; theirs are imported when first met.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable

from pyprobe.runtime.system.kernels.errors import KernelError

LIMIT = 1 << 30  # bytes; no kernel and no package member that is read here comes near it
_LZ4_BLOCK = 8 << 20  # bytes that a block of the legacy format expands to at most


def decompress(data: bytes, name: str = "payload") -> bytes:
    """The content of one compressed stream; data that is not compressed comes back as it is.

    name: what messages call it. Raises KernelError when the stream is damaged or its reader is missing.
    """
    for magic, reader in _READERS:
        if data.startswith(magic):
            try:
                return reader(data)
            except ImportError as error:
                raise KernelError(f"{name} is compressed with {error.name}, and Python's {error.name} package is missing") from None
            except (EOFError, ValueError, RuntimeError, OSError, zlib.error, lzma.LZMAError, struct.error) as error:
                raise KernelError(f"{name} is damaged: {error}") from None
    return data


def compressed(data: bytes) -> bool:
    """Whether the bytes begin a stream that `decompress` knows."""
    return any(data.startswith(magic) for magic, _ in _READERS)


def _gzip(data: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    return _whole(stream.decompress(data, LIMIT), stream.eof)


def _xz(data: bytes) -> bytes:
    stream = lzma.LZMADecompressor()
    return _whole(stream.decompress(data, LIMIT), stream.eof)


def _lzma(data: bytes) -> bytes:
    stream = lzma.LZMADecompressor(format=lzma.FORMAT_ALONE)
    return _whole(stream.decompress(data, LIMIT), stream.eof)


def _bzip2(data: bytes) -> bytes:
    stream = bz2.BZ2Decompressor()
    return _whole(stream.decompress(data, LIMIT), stream.eof)


def _whole(content: bytes, complete: bool) -> bytes:
    if not complete:
        raise EOFError("it ends too early" if len(content) < LIMIT else "its content is too large")
    return content


def _zstd(data: bytes) -> bytes:
    import zstandard

    stream = zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
    try:
        content: bytes = stream.decompress(data)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None
    return _whole(content, stream.eof)


def _lz4_frame(data: bytes) -> bytes:
    import lz4.frame

    stream = lz4.frame.LZ4FrameDecompressor()
    content: bytes = stream.decompress(data, LIMIT)
    return _whole(content, stream.eof)


def _lz4_legacy(data: bytes) -> bytes:
    """Blocks behind their sizes, after one magic number (lz4's doc/lz4_Frame_format.md, "Legacy frame"). The kernel's appended size
    looks like the start of one more block and is larger than what follows it, or follows a block that was not full."""
    import lz4.block

    blocks: list[bytes] = []
    at = 4
    while at + 4 < len(data) and (not blocks or len(blocks[-1]) == _LZ4_BLOCK):
        (size,) = struct.unpack_from("<I", data, at)
        if size > len(data) - at - 4:
            raise EOFError("it ends too early")
        blocks.append(lz4.block.decompress(data[at + 4 : at + 4 + size], uncompressed_size=_LZ4_BLOCK))
        at += 4 + size
    return b"".join(blocks)


_READERS: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b\x08", _gzip),
    (b"\xfd7zXZ\0", _xz),
    (b"\x5d\0\0", _lzma),
    (b"BZh", _bzip2),
    (b"\x28\xb5\x2f\xfd", _zstd),
    (b"\x04\x22\x4d\x18", _lz4_frame),
    (b"\x02\x21\x4c\x18", _lz4_legacy),
)
