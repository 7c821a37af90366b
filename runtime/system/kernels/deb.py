"""Reading Debian packages: an ar archive that holds a compressed tar (deb(5))."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from functools import partial

from pyprobe.runtime.system.kernels.errors import KernelError
from pyprobe.runtime.system.kernels.payload import decompress

MAGIC = b"!<arch>\n"
_HEADER = 60  # bytes of the header of an ar member: name 16, date 12, owner 6, group 6, mode 8, size 10, end mark 2


class Member:
    """A file of a package: `path` without the leading `./`; `target` is what it points to where it is a symbolic link; `mode` has the
    permission bits; `read` gives the content."""

    __slots__ = ("mode", "path", "read", "size", "target")

    def __init__(self, path: str, size: int, mode: int, target: str | None, read: Callable[[], bytes]) -> None:
        self.path = path
        self.size = size
        self.mode = mode
        self.target = target
        self.read = read

    @classmethod
    def made(cls, path: str, content: bytes = b"", mode: int = 0o777, target: str | None = None) -> Member:
        """A file that no package has."""
        return cls(path, len(content), mode, target, lambda: content)


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(entry)
    return stream.read() if stream is not None else b""


def members(package: bytes, name: str = "package") -> Iterator[Member]:
    """The regular files and symbolic links that a package installs, in its order. Raises KernelError when it cannot be read."""
    tar = decompress(_part(package, "data.tar", name), name)
    try:
        with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
            for entry in archive:
                if entry.isfile() or entry.issym():
                    path = entry.name.removeprefix("./").strip("/")
                    target = entry.linkname if entry.issym() else None
                    yield Member(path, entry.size, entry.mode & 0o777, target, partial(_content, archive, entry))
    except tarfile.TarError as error:
        raise KernelError(f"{name} is damaged: {error}") from None


def _part(package: bytes, prefix: str, name: str) -> bytes:
    """The content of the archive's member whose name starts with `prefix`."""
    at = len(MAGIC)
    if not package.startswith(MAGIC):
        raise KernelError(f"{name} is not a Debian package")
    while at + _HEADER <= len(package):
        header = package[at : at + _HEADER]
        at += _HEADER
        size = header[48:58].strip()
        if header[58:] != b"`\n" or not size.isdigit() or at + int(size) > len(package):
            break
        if header[:16].startswith(prefix.encode()):
            return package[at : at + int(size)]
        at += int(size) + int(size) % 2
    raise KernelError(f"{name} is damaged: it has no whole {prefix}")
