"""From the name of a program or library in an attach point to files: paths, `$PATH`, the linker's cache, wildcards.

The linker cache's format: glibc, sysdeps/generic/dl-cache.h; flags of its entries: sysdeps/generic/ldconfig.h.
"""

from __future__ import annotations

import os
import re
import struct
from functools import cache

from pyprobe.runtime.machine.elf import ElfError, ElfFile
from pyprobe.runtime.wildcard import wildcard

CACHE = "/etc/ld.so.cache"
_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("<20sII20x")  # magic, number of entries, length of the strings
_ENTRY = struct.Struct("<iIIIQ")  # flags, soname, path (offsets from the magic), OS version, hardware capabilities
_FLAGS = {"x86_64": 0x0303, "arm64": 0x0A03}  # FLAG_ELF_LIBC6 with FLAG_X8664_LIB64 and FLAG_AARCH64_LIB64
MAX_LINKS = 40  # include/linux/namei.h: MAXSYMLINKS
_TRIPLE = {"x86_64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
_DIRECTORIES = ("lib/{triple}", "usr/lib/{triple}", "usr/{triple}/lib", "lib64", "usr/lib64", "lib", "usr/lib", "usr/local/lib")


class TargetResolver:
    """Finds the files that a probe target means.

    root: the directory that the guest sees as `/` (empty: the host's own); cwd: the guest's working directory; search: `$PATH`;
    command: the program that `-c` runs, which a bare name may mean too.
    """

    def __init__(self, arch: str, *, root: str = "", cwd: str = "", search: str = "", command: str = "") -> None:
        self.arch = arch
        self.root = root.rstrip("/")
        self.cwd = cwd or os.getcwd()
        self.search = search
        self.command = command

    def host_path(self, path: str) -> str:
        """The host's path of a guest path, which may be relative to the working directory."""
        return inside(self.root, os.path.join(self.cwd, path)) if self.root else os.path.join(self.cwd, path)

    def resolve(self, target: str) -> list[str]:
        """The guest paths of the executable ELF files that `target` means, in the order they were looked up; empty if there is none.

        `*` alone means the command with its interpreter and the libraries that they ask for.
        """
        if target == "*":
            candidates = self._closure()
        elif "*" in target:
            candidates = self._expand(target) if "/" in target else [p for d in self._search() for p in self._expand(f"{d}/{target}")]
        elif "/" in target:
            candidates = [target]
        else:
            candidates = [target] + [f"{d}/{target}" for d in self._search()]
            if self.command and os.path.basename(self.command) == target:
                candidates.append(self.command)
            if target.startswith("lib"):
                candidates += self._library(target)
        found: dict[tuple[int, int], str] = {}  # by identity: /bin is often a link to /usr/bin, and one file must not fire twice
        for path in candidates:
            identity = self.identity(path)
            if identity and identity not in found and self._usable(path):
                found[identity] = path
        return list(found.values())

    def identity(self, path: str) -> tuple[int, int] | None:
        """What two paths of one file have in common: its device and inode on the host."""
        try:
            status = os.stat(self.host_path(path))
        except (OSError, ValueError):
            return None
        return status.st_dev, status.st_ino

    def _usable(self, path: str) -> bool:
        host = self.host_path(path)
        if not os.path.isfile(host):
            return False
        try:
            with open(host, "rb") as stream:
                return ElfFile(stream).executable
        except (OSError, ElfError):
            return False

    def _search(self) -> list[str]:
        return [d for d in self.search.split(":") if d]

    def _expand(self, pattern: str) -> list[str]:
        """Files whose path matches; `*` stops at `/`; each directory's names in sorted order."""
        paths = ["/"] if pattern.startswith("/") else [""]
        for part in (p for p in pattern.split("/") if p):
            if "*" not in part:
                paths = [p + part + "/" for p in paths]
                continue
            matching = re.compile(wildcard(part)).fullmatch
            paths = [p + n + "/" for p in paths for n in self._listing(p or ".") if matching(n) and (n[0] != "." or part[0] == ".")]
        return [p.rstrip("/") for p in paths]

    def _listing(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(self.host_path(path)))
        except OSError:
            return []

    def _closure(self) -> list[str]:
        """The command, its interpreter, and the libraries that these need, in the order in which the linker finds them."""
        found = [self.command] if self.command else []
        for path in found:
            try:
                with open(self.host_path(path), "rb") as stream:
                    elf = ElfFile(stream)
                    libraries, directories = elf.needed()
            except (OSError, ElfError):
                continue
            if elf.interpreter and elf.interpreter not in found:
                found.append(elf.interpreter)
            origin = os.path.dirname(os.path.join(self.cwd, path))
            places = [d.replace("$ORIGIN", origin).replace("${ORIGIN}", origin) for d in directories if d]
            for name in libraries:
                paths = [name] if "/" in name else [f"{d}/{name}" for d in places]
                own = [p for p in paths if os.path.isfile(self.host_path(p))]
                found += [p for p in (own or self._library(name))[:1] if p not in found]
        return found

    def _library(self, name: str) -> list[str]:
        """Paths of a library: `libc` and `libc.so` mean `libc.so*`, `libssl.so.3` itself. The linker's cache first, then the standard
        directories."""
        base = name.removesuffix(".so")
        matches = re.compile(re.escape(base) + (r"" if ".so" in base else r"\.so(\.[\d.]+)?")).fullmatch
        cached = [path for soname, path in linker_cache(self.root + CACHE, self.arch) if matches(soname)]
        if cached:
            return cached[:1]
        for directory in _DIRECTORIES:
            folder = "/" + directory.format(triple=_TRIPLE[self.arch])
            found = [f"{folder}/{n}" for n in self._listing(folder) if matches(n)]
            usable = [p for p in found if self._usable(p)]
            if usable:
                return [max(usable, key=_version)]
        return []


@cache
def linker_cache(path: str, arch: str) -> tuple[tuple[str, str], ...]:
    """(soname, path) of the cache's entries for an architecture, in its order, which puts newer versions first. A missing or damaged
    cache is empty."""
    try:
        with open(path, "rb") as stream:
            content = stream.read()
        start = content.index(_MAGIC)  # an old-format table may come before
        _, count, _ = _HEADER.unpack_from(content, start)
        first = start + _HEADER.size
        entries = [_ENTRY.unpack_from(content, first + i * _ENTRY.size) for i in range(min(count, len(content) // _ENTRY.size))]
        usable = [(key, value) for flags, key, value, _, _ in entries if flags == _FLAGS[arch]]
        return tuple((_text(content, start + key), _text(content, start + value)) for key, value in usable)
    except (OSError, ValueError, struct.error):
        return ()


def _text(content: bytes, at: int) -> str:
    return content[at : content.index(b"\0", at)].decode("utf-8", "surrogateescape")


def _version(path: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", os.path.basename(path).partition(".so")[2])]


def inside(root: str, path: str) -> str:
    """The host path of a guest path below `root`, with links and `..` followed as the guest sees them; it may not exist."""
    names = [name for name in reversed(path.split("/")) if name]
    at = ""
    links = 0
    while names:
        name = names.pop()
        if name == "..":
            at = at.rpartition("/")[0]
        elif name != ".":
            here = f"{at}/{name}"
            if os.path.islink(root + here) and links < MAX_LINKS:
                links += 1
                target = os.readlink(root + here)
                names += [part for part in reversed(target.split("/")) if part]
                at = "" if target.startswith("/") else at
            else:
                at = here
    return root + at
