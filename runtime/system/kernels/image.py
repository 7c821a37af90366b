"""What a kernel file is, and the bootable content inside it.

Formats: arm64 Image (Documentation/arch/arm64/booting.rst), bzImage (Documentation/arch/x86/boot.rst), EFI zboot
(drivers/firmware/efi/libstub/zboot-header.S), ELF vmlinux, and any of them compressed as a whole.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from pyprobe.runtime.system.kernels.errors import KernelError
from pyprobe.runtime.system.kernels.payload import compressed, decompress

_BANNER = re.compile(rb"Linux version (\d+\.\d+[^\s\0]*) ([^\n\0]*)")
_ELF_MACHINES = {62: "x86_64", 183: "arm64"}
_PE_MACHINES = {0x14C: "i386", 0x1C2: "arm", 0x5032: "riscv32", 0x5064: "riscv64", 0x6232: "loongarch32", 0x6264: "loongarch64"}
_OTHERS = (  # where the first bytes of what else people take for kernels are, and what it is
    (0, b"\x27\x05\x19\x56", "a U-Boot image; give the Image or vmlinux inside it"),
    (0, b"\xd0\x0d\xfe\xed", "a flattened image tree; give the Image or vmlinux inside it"),
    (0, b"\xed\xab\xee\xdb", "an RPM package; unpack it (rpm2cpio) and give the vmlinuz inside it"),
    (257, b"ustar", "a tar archive; unpack it and give the vmlinuz, Image or vmlinux inside it"),
    (0, b"070701", "an initramfs, which holds no kernel"),
    (0x24, b"\x18\x28\x6f\x01", "for arm; x86_64 and arm64 are supported"),
)
_ZBOOT = struct.Struct("<4x4sII8x32s")  # MZ, "zimg", offset and size of the payload, name of its compression


@dataclass(frozen=True)
class KernelImage:
    """The bootable content of a kernel file: for arm64 the raw Image, for x86_64 the ELF vmlinux.

    release: what `uname -r` will say, empty when no banner was found.
    """

    arch: str
    content: bytes
    release: str


def read_image(data: bytes, name: str = "kernel") -> KernelImage:
    """The kernel in the bytes of a vmlinuz, Image or vmlinux. Raises KernelError that says why there is none, or none that can boot."""
    for _ in range(3):  # an Image.gz in a zboot shell has two layers
        found = _bare(data, name)
        if found is not None:
            return found
        data = _inner(data, name)
    raise KernelError(f"{name} is not a Linux kernel")


def _bare(data: bytes, name: str) -> KernelImage | None:
    """The kernel, if the bytes are one that needs no unpacking."""
    if data[56:60] == b"ARM\x64":
        size, flags = struct.unpack_from("<QQ", data, 16)
        if flags & 1:
            raise KernelError(f"{name} can't be booted: it is a big-endian arm64 kernel")
        if flags >> 1 & 3 > 1:
            raise KernelError(f"{name} can't be booted: its pages have {'16' if flags >> 1 & 3 == 2 else '64'} KiB, 4 KiB are supported")
        if len(data) > size:
            data = data[:size]
        if len(data) < max(1 << 20, _extent(data)):
            raise KernelError(f"{name} is damaged: it ends too early")
        return KernelImage("arm64", data, release(data))
    if data.startswith(b"\x7fELF"):
        return _elf(data, name)
    return None


def _extent(data: bytes) -> int:
    """How long a file must be for the sections that its PE header names, if it has one (Microsoft, "PE Format")."""
    (pe,) = struct.unpack_from("<I", data, 60)
    if data[:2] != b"MZ" or data[pe : pe + 4] != b"PE\0\0":
        return 0
    count, optional = struct.unpack_from("<H12xH", data, pe + 6)
    table = pe + 24 + optional
    sections = [struct.unpack_from("<II", data, table + 40 * i + 16) for i in range(count) if table + 40 * (i + 1) <= len(data)]
    return max((start + size for size, start in sections), default=0)


def _elf(data: bytes, name: str) -> KernelImage:
    if len(data) < 64:
        raise KernelError(f"{name} is damaged: it ends too early")
    kind, machine = struct.unpack_from("<HH", data, 16)
    if data[4:6] != b"\x02\x01" or machine not in _ELF_MACHINES:
        raise KernelError(f"{name} can't be booted: it is for another architecture than x86_64 and arm64")
    if kind == 1:
        raise KernelError(f"{name} is an object file or a kernel module, not a kernel")
    headers, size, count = struct.unpack_from("<Q14xHH", data, 32)
    segments = [struct.unpack_from("<IIQQQQQ", data, headers + i * size) for i in range(count) if headers + (i + 1) * size <= len(data)]
    loaded = [s for s in segments if s[0] == 1]
    if not loaded or not all(s[3] >> 63 for s in loaded if s[3]) or not any(s[3] >> 63 for s in loaded):
        raise KernelError(f"{name} is a program, not a Linux kernel")
    if any(s[2] + s[5] > len(data) for s in loaded):
        raise KernelError(f"{name} is damaged: it ends too early")
    arch = _ELF_MACHINES[machine]
    if arch == "arm64":
        return _flattened(data, loaded, name)
    return KernelImage(arch, data, release(data))


def _flattened(data: bytes, segments: list[tuple[int, ...]], name: str) -> KernelImage:
    """An arm64 vmlinux laid out as the raw Image that its segments would be loaded as."""
    start = min(s[3] for s in segments)
    content = bytearray(max(s[3] + s[5] for s in segments) - start)
    for _, _, offset, address, _, size, _ in segments:
        content[address - start : address - start + size] = data[offset : offset + size]
    found = _bare(bytes(content), name)
    if found is None or found.arch != "arm64":
        raise KernelError(f"{name} can't be booted: its first segment has no Image header")
    return found


def _inner(data: bytes, name: str) -> bytes:
    """What a shell around a kernel holds."""
    if compressed(data):
        return decompress(data, name)
    if data[0x202:0x206] == b"HdrS":
        return _bzimage(data, name)
    if data[:2] == b"MZ" and data[4:8] == b"zimg":
        _, offset, size, kind = _ZBOOT.unpack_from(data)
        if offset + size > len(data):
            raise KernelError(f"{name} is damaged: it ends too early")
        payload = data[offset : offset + size]
        if not compressed(payload):
            raise KernelError(f"{name} is compressed with {kind.rstrip(bytes(1)).decode('ascii', 'replace')}, which is not known here")
        return decompress(payload, name)
    if data[:2] == b"MZ" and len(data) > 64:
        (pe,) = struct.unpack_from("<I", data, 60)
        machine = struct.unpack_from("<H", data, pe + 4)[0] if pe + 6 <= len(data) else 0
        if machine in _PE_MACHINES:
            raise KernelError(f"{name} can't be booted: it is for {_PE_MACHINES[machine]}; x86_64 and arm64 are supported")
    for offset, magic, what in _OTHERS:
        if data[offset : offset + len(magic)] == magic:
            raise KernelError(f"{name} can't be booted: it is {what}")
    raise KernelError(f"{name} is not a Linux kernel")


def _bzimage(data: bytes, name: str) -> bytes:
    """The payload of an x86 boot image: an ELF vmlinux, relocations after it."""
    sectors = data[0x1F1] or 4
    (version,) = struct.unpack_from("<H", data, 0x206)
    (flags,) = struct.unpack_from("<H", data, 0x236)
    if version < 0x20C or not flags & 1:
        raise KernelError(f"{name} can't be booted: it has no 64-bit entry (a 32-bit kernel, or one older than 3.8)")
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = (sectors + 1) * 512 + offset
    payload = data[start : start + length]
    if len(payload) < length:
        raise KernelError(f"{name} is damaged: it ends too early")
    if not compressed(payload) and not payload.startswith(b"\x7fELF"):
        raise KernelError(f"{name} is compressed in a way that is not known here (lzo?)")
    return decompress(payload, name)


def release(content: bytes) -> str:
    """The version in the kernel's banner (init/version-timestamp.c). The banner as printed is followed by who built it and with what;
    the one with `%s` in it, for /proc/version, is not it."""
    for found in _BANNER.finditer(content):
        if b"%s" not in found[0]:
            return found[1].decode("ascii", "replace")
    return ""
