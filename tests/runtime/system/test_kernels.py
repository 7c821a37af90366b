"""Kernel files and packages, and the cache that keeps them: `pyprobe kernel`."""

from __future__ import annotations

import io
import os
import shutil
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pyprobe.runtime.system.kernels import deb, store
from pyprobe.runtime.system.kernels.distribution import applets, small_root
from pyprobe.runtime.system.kernels.errors import KernelError
from pyprobe.runtime.system.kernels.image import read_image
from pyprobe.runtime.system.kernels.payload import decompress
from tests.conftest import Result
from tests.runtime.system.packages import COMPRESSIONS, bzimage, image, package, vmlinux, zboot

Command = Callable[..., Result]
RELEASE = "6.12.3-test"
USAGE = "USAGE: pyprobe kernel install NAME        fetch a distribution's kernel with apt: debian-arm64 or debian-amd64"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return store.directory()


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_compressed_kernels_are_unpacked(compression: str) -> None:
    pack = COMPRESSIONS[compression]
    assert decompress(pack(image())) == image()
    assert read_image(pack(image())).content == image()
    size = len(vmlinux()).to_bytes(4, "little")  # what the kernel's build appends
    found = read_image(bzimage(pack(vmlinux()) + size))
    assert (found.arch, found.release, found.content) == ("x86_64", RELEASE, vmlinux())


def test_bare_kernels_and_shells() -> None:
    assert read_image(image()).arch == "arm64"
    assert read_image(sectioned(image())).release == RELEASE
    assert read_image(zboot(COMPRESSIONS["zstd"](image()), b"zstd22")).release == RELEASE
    assert read_image(vmlinux()).content == vmlinux()
    assert read_image(bzimage(vmlinux())).arch == "x86_64"


def sectioned(content: bytes) -> bytes:
    """An Image with the PE header of an EFI program, whose section ends where it does."""
    head = struct.pack("<4sHH12xHH", b"PE\0\0", 0xAA64, 1, 0, 0) + struct.pack("<16xII16x", len(content) - 0x1000, 0x1000)
    return b"MZ" + content[2:60] + struct.pack("<I", 1024) + content[64:1024] + head + content[1024 + len(head) :]


def archived() -> bytes:
    """A tar archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("boot"))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "k is not a Linux kernel"),
        (b"#!/bin/sh\n", "k is not a Linux kernel"),
        (image(flags=1), "k can't be booted: it is a big-endian arm64 kernel"),
        (image(flags=0b110), "k can't be booted: its pages have 64 KiB, 4 KiB are supported"),
        (vmlinux(machine=243), "k can't be booted: it is for another architecture than x86_64 and arm64"),
        (vmlinux(kind=1), "k is an object file or a kernel module, not a kernel"),
        (vmlinux(address=0x400000), "k is a program, not a Linux kernel"),
        (vmlinux()[:1000], "k is damaged: it ends too early"),
        (bzimage(COMPRESSIONS["gzip"](vmlinux()))[:-150], "k is damaged: it ends too early"),
        (bzimage(b"\x89LZO\0"), "k is compressed in a way that is not known here (lzo?)"),
        (zboot(b"?" * 100, b"lzo"), "k is compressed with lzo, which is not known here"),
        (COMPRESSIONS["gzip"](image())[:-20], "k is damaged: it ends too early"),
        (COMPRESSIONS["zstd"](image())[:60], "k is damaged: it ends too early"),
        (COMPRESSIONS["xz"](b"text"), "k is not a Linux kernel"),
        (sectioned(image())[:-600_000], "k is damaged: it ends too early"),
        (archived(), "k can't be booted: it is a tar archive; unpack it and give the vmlinuz, Image or vmlinux inside it"),
        (b"\xed\xab\xee\xdb" + bytes(100), "k can't be booted: it is an RPM package; unpack it (rpm2cpio) and give the vmlinuz inside it"),
        (b"070701" + bytes(100), "k can't be booted: it is an initramfs, which holds no kernel"),
        (bytes(0x24) + b"\x18\x28\x6f\x01", "k can't be booted: it is for arm; x86_64 and arm64 are supported"),
        (b"\x27\x05\x19\x56" + bytes(100), "k can't be booted: it is a U-Boot image; give the Image or vmlinux inside it"),
    ],
)
def test_what_is_no_kernel_says_why(data: bytes, why: str) -> None:
    with pytest.raises(KernelError) as error:
        read_image(data, "k")
    assert str(error.value) == why


@pytest.mark.parametrize("compression", ["gzip", "xz", "zstd"])
def test_packages_are_read(compression: str) -> None:
    made = package({"usr/a": b"one", "usr/b": "a", "c": b""}, compression)
    found = [(m.path, m.target, m.read() if m.target is None else b"") for m in deb.members(made)]
    assert found == [("usr/a", None, b"one"), ("usr/b", "a", b""), ("c", None, b"")]


def test_damaged_packages_say_so() -> None:
    whole = package({"a": b"x" * 10000})
    for cut in (4, 70, 200, len(whole) - 30):
        with pytest.raises(KernelError):
            list(deb.members(whole[:cut], "p"))


def test_a_kernel_from_packages(cache: Path, tmp_path: Path) -> None:
    binary: dict[str, bytes | str] = {"usr/lib/modules/6/vmlinuz": bzimage(COMPRESSIONS["zstd"](vmlinux())), "boot/vmlinuz": "x"}
    (tmp_path / "binary.deb").write_bytes(package(binary))
    needs = b"\0license=GPL\0depends=fuse\0"
    modules: dict[str, bytes | str] = {
        "lib/modules/6/kernel/fs/fuse/virtiofs.ko.xz": COMPRESSIONS["xz"](needs),
        "lib/modules/6/kernel/fs/fuse/fuse.ko": b"\0depends=\0",
        "lib/modules/6/kernel/drivers/virtio-rng.ko.zst": COMPRESSIONS["zstd"](b"rng"),
        "lib/modules/6/kernel/fs/ext4/ext4.ko": b"no",
    }
    (tmp_path / "modules.deb").write_bytes(package(modules))
    made = store.add("mine", [tmp_path / "binary.deb", tmp_path / "modules.deb"])
    assert made == store.find("mine") == store.kernels()[0]
    assert (made.arch, made.release, made.image.read_bytes()) == ("x86_64", RELEASE, vmlinux())
    assert sorted(made.modules) == ["fuse", "virtio_rng", "virtiofs"] and made.modules["virtiofs"].read_bytes() == needs
    assert [p.name for p in made.load_order("virtiofs", "overlay", "fuse")] == ["fuse.ko", "virtiofs.ko"]
    assert made.root is None
    store.add("mine", [tmp_path / "binary.deb"])
    assert not store.find("mine").modules
    store.remove("mine")
    assert not store.kernels() and not list(cache.iterdir())


def module(release: str) -> bytes:
    """A module's file, as far as it is looked at."""
    return b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + b"\1\0" + f"\0vermagic={release} SMP \0".encode()


def test_modules_come_with_a_bare_kernel(cache: Path, tmp_path: Path) -> None:
    files = {"vmlinuz": image(), "fuse.ko": module(RELEASE), "overlay.ko.xz": COMPRESSIONS["xz"](module(RELEASE))}
    files |= {"other.ko": module("6.1.0"), "text.ko": b"text"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    made = store.add("k", [tmp_path / name for name in ("fuse.ko", "vmlinuz", "overlay.ko.xz")])
    assert {name: path.read_bytes() for name, path in made.modules.items()} == dict.fromkeys(("fuse", "overlay"), module(RELEASE))
    for name, why in (("other.ko", f"is a module of Linux 6.1.0, and the kernel is {RELEASE}"), ("text.ko", "is not a kernel module")):
        with pytest.raises(KernelError, match=why):
            store.add("k", [tmp_path / "vmlinuz", tmp_path / name])
    with pytest.raises(KernelError, match="no kernel in fuse"):
        store.add("k", [tmp_path / "fuse.ko"])


def test_a_kernel_from_a_file_is_kept_by_its_content(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "Image"
    file.write_bytes(image())
    first = store.find(str(file))
    assert store.find(str(file)).folder == first.folder and not store.kernels()
    first.image.write_bytes(b"")  # damaged: made again
    assert store.find(str(file)).image.read_bytes() == image()


def test_damaged_folders_are_named(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "Image").write_bytes(image())
    made = store.add("k", [tmp_path / "Image"])
    for text in ("", "{}", "[]", (made.folder / "kernel.json").read_text()[:40]):
        (made.folder / "kernel.json").write_text(text)
        with pytest.raises(KernelError, match="kernel k is damaged"):
            store.find("k")
        assert store.kernels() == []
    store.add("k", [tmp_path / "Image"])
    assert store.find("k").arch == "arm64"


def test_a_small_root_has_links_for_applets(tmp_path: Path) -> None:
    program = b"\x7fELF..." + b"junk [\0[[\0\1" + b"\0".join([b"", b"[", b"[[", b"cat", b"ls", b"sh", b"", b""]) + b"more"
    assert applets(program) == ["[", "[[", "cat", "ls", "sh"]
    made = {m.path: m.target for m in small_root(package({"bin/busybox": program}), "busybox")}
    assert made["bin/busybox"] is None and made["bin/ls"] == "busybox" and "etc/passwd" in made


def test_files_do_not_leave_the_root(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "Image").write_bytes(image())
    for bad in ([("../out", None)], [("d", "/tmp"), ("d/x", None)]):
        members = [deb.Member.made(path, b"x", target=target) for path, target in bad]
        with pytest.raises(KernelError, match="outside its root"):
            store.add("k", [tmp_path / "Image"], root=members)
    assert not store.kernels()


def test_the_command(pyprobe: Command, tmp_path: Path) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    file = tmp_path / "vmlinuz"
    file.write_bytes(COMPRESSIONS["gzip"](image()))
    assert pyprobe("kernel", "list", env=env).err == "No kernels; get one with: pyprobe kernel install debian-arm64\n"
    added = pyprobe("kernel", "add", "mine", str(file), env=env)
    assert added.status == 0 and added.err.endswith(f"\nmine: Linux {RELEASE} for arm64\n")
    assert added.err.startswith("WARNING: mine: ")  # it has no symbols
    listed = pyprobe("kernel", "list", env=env)
    rows = [line.split() for line in listed.out.splitlines()]
    assert rows == [["NAME", "ARCH", "RELEASE", "FROM"], ["mine", "arm64", RELEASE, "vmlinuz"]]
    assert pyprobe("kernel", "remove", "mine", env=env).status == 0
    assert pyprobe("kernel", "list", env=env).out == ""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["kernel"], USAGE),
        (["kernel", "add", "x"], USAGE),
        (["kernel", "add", "../x", "/etc/passwd"], "ERROR: '../x' can't be a kernel's name: use letters, digits and . _ + -"),
        (["kernel", "add", "x", "/etc/passwd"], "ERROR: passwd is not a Linux kernel"),
        (["kernel", "add", "x", "/no/such"], "ERROR: /no/such: No such file or directory"),
        (["kernel", "remove", "x"], "ERROR: no kernel x"),
        (
            ["kernel", "install", "suse"],
            "ERROR: no kernel suse to install: there are debian-arm64 and debian-amd64; others: kernel add NAME FILE",
        ),
        (
            ["--kernel", "debian-arm64", "-l", "kprobe:x"],
            "ERROR: kernel debian-arm64 is not installed; get it with: pyprobe kernel install debian-arm64",
        ),
        (["--kernel", "mine", "-e", "begin { }"], "ERROR: no kernel mine; get one with: pyprobe kernel install debian-arm64"),
        (["--kernel", "/no/such", "-e", "begin { }"], "ERROR: no kernel file /no/such"),
        (["--kernel", "/etc/passwd", "-e", "begin { }"], "ERROR: passwd is not a Linux kernel"),
    ],
)
def test_errors_are_one_line(pyprobe: Command, tmp_path: Path, words: list[str], line: str) -> None:
    done = pyprobe(*words, env={"XDG_CACHE_HOME": str(tmp_path)})
    assert done.status == 1 and done.err.splitlines()[0] == line
    assert "Traceback" not in done.err and (len(done.err.splitlines()) == 1 or words[0] == "kernel")


def test_without_apt_the_other_way_is_named(pyprobe: Command, tmp_path: Path) -> None:
    done = pyprobe("kernel", "install", "debian-arm64", env={"XDG_CACHE_HOME": str(tmp_path), "PATH": os.devnull})
    assert done.status == 1
    line = "this system has no apt to fetch Debian's kernels with; add a kernel file with: pyprobe kernel add NAME FILE"
    assert done.err == f"ERROR: {line}\n"


def test_a_cache_that_cannot_be_written(pyprobe: Command, tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("apt-get")
    (tmp_path / "pyprobe").write_text("")
    done = pyprobe("kernel", "install", "debian-arm64", env={"XDG_CACHE_HOME": str(tmp_path)})
    assert (done.status, done.err) == (1, f"ERROR: can't write {tmp_path}/pyprobe/kernels: Not a directory\n")


def test_an_installed_kernel_is_whole(kernel: store.Kernel) -> None:
    found = read_image(kernel.image.read_bytes())
    assert (found.arch, found.release) == (kernel.arch, kernel.release)
    assert kernel.release.endswith(kernel.name.replace("debian", "cloud"))
    assert kernel.modules and all(p.read_bytes().startswith(b"\x7fELF") for p in kernel.modules.values())
    assert "overlay" in kernel.modules


@pytest.mark.parametrize("kernel", ["debian-amd64"], indirect=True)
def test_without_modules_it_boots_only(kernel: store.Kernel, pyprobe: Command, tmp_path: Path) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path)}
    shutil.copy(kernel.image, tmp_path / "vmlinux")
    half = "kernel k can't run commands: it has no overlay file system, neither built in nor as a module"
    added = pyprobe("kernel", "add", "k", str(tmp_path / "vmlinux"), str(kernel.modules["fuse"]), env=env)
    assert added.status == 0 and added.err.startswith(f"WARNING: {half}\nHINT: add it again with its modules (")
    options = ("-q", "--kernel", "k", "-e", "kprobe:start_kernel { @ = count(); }")
    with open(tmp_path / "pyprobe/kernels/k/image", "r+b") as image:
        image.seek(-1, os.SEEK_END)
        last = image.read(1)
        image.seek(-1, os.SEEK_END)
        image.write(bytes([last[0] ^ 1]))
        image.flush()
        done = pyprobe(*options, "--boot", env=env)
        assert (done.status, done.err) == (255, "ERROR: the image of kernel k is damaged; install or add it again\n")
        image.seek(-1, os.SEEK_END)
        image.write(last)
    done = pyprobe(*options, "-c", "ls", env=env)
    assert done.status != 0 and done.err.startswith(f"ERROR: {half}\nHINT: ")
    done = pyprobe(*options, "--boot", env=env)
    assert done.status == 0 and "@: 1\n" in done.out and done.err == f"WARNING: {half}; so its boot is all there is\n"


@pytest.mark.parametrize("kernel", ["debian-amd64"], indirect=True)
def test_what_a_kernel_lacks_is_said_once(kernel: store.Kernel, pyprobe: Command, tmp_path: Path) -> None:
    content = kernel.image.read_bytes()
    types = content.index(b"\x9f\xeb\1\0\x18\0\0\0")
    (tmp_path / "vmlinux").write_bytes(content[:types] + bytes(8) + content[types + 8 :])
    for what in (("-e", "kprobe:vfs_read { }"), ("-l", "kprobe:*")):
        done = pyprobe("--kernel", str(tmp_path / "vmlinux"), *what, env={"XDG_CACHE_HOME": str(tmp_path)})
        assert done.status != 0
        assert done.err == "ERROR: this kernel has no type information (BTF)\nHINT: use one that was built with CONFIG_DEBUG_INFO_BTF\n"
