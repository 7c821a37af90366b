"""The user's cache of unpacked kernels: one folder each, under `$XDG_CACHE_HOME/pyprobe/kernels`.

A folder holds `image` (see `image.KernelImage`), `modules/NAME.ko` (unpacked), `root/` (a small root file system, where one came with
the kernel), `kernel.json` (what this is and where it came from), and what other parts derive from the image and can make again.
A folder appears complete, by one rename, or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pyprobe.runtime.system import cache
from pyprobe.runtime.system.kernels import deb
from pyprobe.runtime.system.kernels.errors import KernelError
from pyprobe.runtime.system.kernels.image import KernelImage, read_image
from pyprobe.runtime.system.kernels.payload import decompress

FORMAT = 1  # of a folder; raise it when older ones can no longer be used
MOUNT_POINTS = ("dev", "proc", "root", "run", "sys", "tmp")  # of a kept root
DISTRIBUTED = ("debian-arm64", "debian-amd64")
"""The names that `kernel install` knows."""

_DRAFT, _GRAVE = ".draft-", ".gone-"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_KEPT_MODULE = re.compile(r"(fuse|overlay|virtio[a-z0-9_-]*|(vmw_)?vsock[a-z0-9_]*)\.ko(\.\w+)?")
_MODULE = re.compile(r"[^/]+\.ko(\.\w+)?")
_KERNEL_FILE = re.compile(r"(boot|(usr/)?lib/modules/[^/]+)/(vmlinuz|vmlinux|Image)(-[^/]*)?")
_VERMAGIC = re.compile(rb"\0vermagic=([^ \0]+)")
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")


@dataclass(frozen=True)
class Kernel:
    """A kernel in the cache.

    arch: `x86_64` or `arm64`; release: what `uname -r` says in it; digest: SHA-256 of its image, in hex; sources: (file, SHA-256) of
    what it was unpacked from.
    """

    name: str
    folder: Path
    arch: str
    release: str
    digest: str
    sources: tuple[tuple[str, str], ...]

    @property
    def image(self) -> Path:
        """The raw arm64 Image, or the x86_64 vmlinux."""
        return self.folder / "image"

    @property
    def root(self) -> Path | None:
        """The directory that can serve as `/` where the host's cannot, if the kernel came with one."""
        path = self.folder / "root"
        return path if path.is_dir() else None

    @cached_property
    def modules(self) -> dict[str, Path]:
        """The kept modules' files, unpacked, by the names that the kernel uses (`virtio_mmio`)."""
        return {module_name(p.name): p for p in sorted((self.folder / "modules").glob("*.ko"))}

    def load_order(self, *names: str) -> list[Path]:
        """The files to load for these modules, each after the ones it depends on. Modules that are not there are taken to be built in."""
        order: list[Path] = []
        for name in names:
            path = self.modules.get(module_name(name))
            if path is not None and path not in order:
                found = _DEPENDS.search(path.read_bytes())
                needed = found[1].decode().split(",") if found and found[1] else []
                order += [p for p in self.load_order(*needed) if p not in order]
                order.append(path)
        return order


def module_name(file: str) -> str:
    """`virtio-rng.ko.xz` to `virtio_rng`."""
    return file.partition(".")[0].replace("-", "_")


def directory() -> Path:
    """Where the kernels are kept."""
    return cache.directory("kernels")


def kernels() -> list[Kernel]:
    """The named kernels of the cache, sorted by name; damaged ones are left out."""
    found = []
    for folder in sorted(directory().glob("[!.]*")):
        try:
            found.append(_load(folder, folder.name))
        except KernelError:
            continue
    return found


def find(name: str) -> Kernel:
    """The kernel that `--kernel` names: one in the cache, or a file, which is unpacked into the cache when it is new.

    Raises KernelError that says how to get one.
    """
    if "/" not in name and _NAME.fullmatch(name) and (directory() / name).is_dir():
        return _load(directory() / name, name)
    if os.path.isfile(name):
        return _of_file(name)
    if "/" in name:
        raise KernelError(f"no kernel file {name}")
    if name in DISTRIBUTED:
        raise KernelError(f"kernel {name} is not installed; get it with: pyprobe kernel install {name}")
    have = ", ".join(k.name for k in kernels())
    raise KernelError(f"no kernel {name}; {f'there is {have}' if have else 'get one with: pyprobe kernel install debian-arm64'}")


def add(name: str, files: Sequence[str | Path], *, root: Iterable[deb.Member] = (), folder: Path | None = None) -> Kernel:
    """Unpack a kernel from packages or a kernel file into the cache under a name, in place of one that had it.

    files: a kernel as a package, vmlinuz, Image or vmlinux, and any number of packages with modules of it, and of modules (`.ko`).
    root: files of a root file system to keep with it. Raises KernelError.
    """
    if folder is None and not _NAME.fullmatch(name):
        raise KernelError(f"{name!r} can't be a kernel's name: use letters, digits and . _ + -")
    image: KernelImage | None = None
    modules: dict[str, bytes] = {}
    given: dict[str, bytes] = {}
    sources = []
    for file in files:
        data = _read(file)
        sources.append((os.path.basename(file), hashlib.sha256(data).hexdigest()))
        found = None
        if data.startswith(deb.MAGIC):
            found = _from_package(data, os.path.basename(file), modules)
        elif _MODULE.fullmatch(os.path.basename(file)):
            given[os.path.basename(file)] = data
        else:
            found = read_image(data, os.path.basename(file))
        if image is not None and found is not None:
            raise KernelError(f"{file} holds a second kernel")
        image = image or found
    if image is None:
        raise KernelError(f"no kernel in {', '.join(os.path.basename(f) for f in files)}")
    for file, data in given.items():
        modules[module_name(file)] = _module(data, file, image)
    if folder is not None:
        return _write(name, folder, image, modules, tuple(sources), root)
    folder = directory() / name
    with _locked(folder):
        return _write(name, folder, image, modules, tuple(sources), root)


def _locked(folder: Path) -> AbstractContextManager[None]:
    """Keep others from making or deleting a folder."""
    with suppress(OSError):
        folder.parent.mkdir(parents=True, exist_ok=True)
    return cache.locked(str(folder.parent / f".{folder.name}.lock"))


def remove(name: str) -> None:
    """Delete a kernel and all that was derived from it. Raises KernelError when there is none of that name."""
    folder = directory() / name
    if not _NAME.fullmatch(name) or not folder.is_dir():
        raise KernelError(f"no kernel {name}")
    with _locked(folder):
        digest = _digest(folder)
        if folder.is_dir():
            _delete(folder)
    _forget(digest)


def _digest(folder: Path) -> str:
    """That of the kernel in a folder, "" if it does not tell."""
    try:
        return str(json.loads((folder / "kernel.json").read_text())["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _forget(digest: str) -> None:
    """Delete the snapshots of a kernel, unless another folder holds the same one; and what killed processes left."""
    from pyprobe.runtime.system import snapshot

    cache.sweep(directory(), _DRAFT, _GRAVE)
    cache.sweep(snapshot.directory(), snapshot.DRAFT)
    if len(digest) == 64 and digest not in map(_digest, directory().iterdir()):
        for path in snapshot.family(digest):
            with suppress(OSError):  # it is gone already, or stays
                path.unlink()


def _read(file: str | Path) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise KernelError(f"{file}: {error.strerror}") from None


def _from_package(data: bytes, name: str, modules: dict[str, bytes]) -> KernelImage | None:
    """The kernel of a package, if it holds one; its modules that are worth keeping go to `modules`."""
    image = None
    for member in deb.members(data, name):
        base = os.path.basename(member.path)
        if member.target is None and _KEPT_MODULE.fullmatch(base):
            modules[module_name(base)] = decompress(member.read(), f"{base} of {name}")
        elif member.target is None and member.size and _KERNEL_FILE.fullmatch(member.path):
            image = read_image(member.read(), f"{base} of {name}")
    return image


def _module(data: bytes, name: str, kernel: KernelImage) -> bytes:
    """A module's file, unpacked. Raises KernelError when it is none, or that of another kernel, which would not load it."""
    content = decompress(data, name)
    if content[:4] != b"\x7fELF" or content[16:18] != b"\1\0":
        raise KernelError(f"{name} is not a kernel module")
    found = _VERMAGIC.search(content)
    if found and kernel.release and found[1].decode("ascii", "replace") != kernel.release:
        raise KernelError(f"{name} is a module of Linux {found[1].decode('ascii', 'replace')}, and the kernel is {kernel.release}")
    return content


def _of_file(path: str) -> Kernel:
    """A kernel given as a file, kept in the cache by its content."""
    digest = hashlib.sha256(_read(path)).hexdigest()
    folder = directory() / f".file-{digest[:32]}"
    name = os.path.basename(path)
    with suppress(KernelError):
        return _load(folder, name)
    with _locked(folder):
        with suppress(KernelError):
            return _load(folder, name)  # somebody else was at it
        return add(name, [path], folder=folder)


def _load(folder: Path, name: str) -> Kernel:
    try:
        facts = json.loads((folder / "kernel.json").read_text())
        sources = tuple((str(f), str(d)) for f, d in facts["sources"])
        kernel = Kernel(name, folder, facts["arch"], facts["release"], facts["digest"], sources)
        complete = facts["format"] == FORMAT and kernel.image.stat().st_size == facts["size"]
    except (OSError, ValueError, KeyError, TypeError):
        complete = False
    if not complete:
        raise KernelError(f"kernel {name} is damaged or of another version of pyprobe; install or add it again")
    return kernel


def _write(
    name: str,
    folder: Path,
    image: KernelImage,
    modules: dict[str, bytes],
    sources: tuple[tuple[str, str], ...],
    root: Iterable[deb.Member],
) -> Kernel:
    digest = hashlib.sha256(image.content).hexdigest()
    facts = {
        "format": FORMAT,
        "arch": image.arch,
        "release": image.release,
        "digest": digest,
        "size": len(image.content),
        "sources": sources,
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=folder.parent))
        try:
            (draft / "image").write_bytes(image.content)
            (draft / "modules").mkdir()
            for module, content in sorted(modules.items()):
                (draft / "modules" / f"{module}.ko").write_bytes(content)
            _write_root(draft / "root", root)
            (draft / "kernel.json").write_text(json.dumps(facts, indent=1) + "\n")
            before = _digest(folder)
            if folder.exists():
                _delete(folder)
            os.rename(draft, folder)
            if before != digest:
                _forget(before)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    except OSError as error:
        raise KernelError(f"can't write {folder}: {error.strerror}") from None
    return Kernel(name, folder, image.arch, image.release, digest, sources)


def _write_root(root: Path, members: Iterable[deb.Member]) -> None:
    """Files and links below `root`, where no link leads out of the way of a file that comes later; and places to mount on."""
    for member in members:
        for empty in MOUNT_POINTS:
            (root / empty).mkdir(parents=True, exist_ok=True)
        path = root / member.path
        if ".." in Path(member.path).parts or not path.parent.resolve().is_relative_to(root.resolve()):
            raise KernelError(f"a package has a file outside its root: {member.path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        if member.target is not None:
            path.symlink_to(member.target)
        else:
            path.write_bytes(member.read())
            path.chmod(member.mode | 0o600)
    if root.is_dir():
        for empty in MOUNT_POINTS:
            (root / empty).mkdir(exist_ok=True)


def _delete(folder: Path) -> None:
    """Remove a folder: out of sight first, so that nobody finds half of one."""
    try:
        with tempfile.TemporaryDirectory(prefix=_GRAVE, dir=folder.parent, ignore_cleanup_errors=True) as grave:
            os.rename(folder, Path(grave, "it"))
    except OSError as error:
        raise KernelError(f"can't remove {folder}: {error.strerror}") from None
