"""Packages and kernel files made up for tests: the shells are real, the kernels inside are too small to boot."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
from collections.abc import Callable

import lz4.block
import lz4.frame
import zstandard

BANNER = b"Linux version 6.12.3-test (someone@somewhere) (gcc 14) #1 SMP\n\0"


def image(size: int = 2 << 20, flags: int = 0b1010) -> bytes:
    """An arm64 Image of 4 KB pages."""
    head = struct.pack("<IIQQQQQQ4sI", 0x91005A4D, 0, 0, size, flags, 0, 0, 0, b"ARM\x64", 0)
    return (head + BANNER).ljust(size, b"\0")


def vmlinux(machine: int = 62, address: int = 0xFFFFFFFF81000000, kind: int = 2) -> bytes:
    """An ELF file with one segment, a kernel's unless told otherwise."""
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    content = BANNER.ljust(1 << 20, b"\1")
    header = struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, 0x1000000, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 120, address, 0x1000000, len(content), len(content), 0x1000)
    return ident + header + segment + content


def bzimage(payload: bytes) -> bytes:
    """An x86 boot image around a payload (Documentation/arch/x86/boot.rst)."""
    head = bytearray(512 * 3)
    head[0x1F1] = 2
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, 0x20F)
    struct.pack_into("<H", head, 0x236, 1)
    struct.pack_into("<II", head, 0x248, 64, len(payload))
    return bytes(head) + bytes(64) + payload + bytes(100)


def zboot(payload: bytes, kind: bytes) -> bytes:
    """An EFI shell around a payload."""
    return struct.pack("<2s2x4sII8x32s", b"MZ", b"zimg", 128, len(payload), kind).ljust(128, b"\0") + payload + bytes(64)


def lz4_legacy(data: bytes) -> bytes:
    blocks = [lz4.block.compress(data[i : i + (8 << 20)], store_size=False) for i in range(0, len(data), 8 << 20)]
    return b"\x02\x21\x4c\x18" + b"".join(struct.pack("<I", len(b)) + b for b in blocks)


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "lz4": lz4.frame.compress,
    "lz4-legacy": lz4_legacy,
}


def package(files: dict[str, bytes | str], compression: str = "xz") -> bytes:
    """A Debian package that installs files; a text is the target of a symbolic link."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(f"./{path}")
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    data = COMPRESSIONS[compression](stream.getvalue())
    parts = (("debian-binary", b"2.0\n"), ("control.tar.xz", b"x"), (f"data.tar.{compression[:2]}", data))
    return b"!<arch>\n" + b"".join(
        f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(part):<10}`\n".encode() + part + b"\n" * (len(part) % 2) for name, part in parts
    )
