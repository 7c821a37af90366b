"""The view of the host's files: nothing outside it is reached, nothing inside it is changed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runtime.user.vfs.conftest import Guest

GuestIn = Callable[..., Guest]


@pytest.fixture
def view(tmp_path: Path) -> Path:
    """A directory to be seen as `/`, with a secret beside it."""
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "view"
    (root / "d" / "e").mkdir(parents=True)
    (root / "d" / "file").write_text("inside")
    (root / "d" / "e" / "deep").write_text("deep")
    return root


def snapshot(root: Path) -> list[tuple[str, int, float, bytes]]:
    """Everything below a directory."""
    found = []
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found.append((str(path), status.st_mode, status.st_mtime, content))
    return found


@pytest.mark.parametrize(
    "target",
    ["{outside}/secret", "../secret", "../../secret", "../../../../../../{outside}/secret", "/../secret", "/proc/self/cwd/../secret"],
)
def test_links_and_dots_stay_inside(view: Path, guest_in: GuestIn, target: str) -> None:
    text = target.format(outside=view.parent)
    (view / "link").symlink_to(text)
    (view / "d" / "link").symlink_to(text)
    guest = guest_in(view)
    for path in (b"/link", b"/d/link", b"link", text.encode(), b"/d/e/../../" + text.encode()):
        assert guest.content(path) == -errno.ENOENT, path


def test_a_directory_link_stays_inside(view: Path, guest_in: GuestIn) -> None:
    (view / "up").symlink_to("..")
    (view / "out").symlink_to(view.parent)
    guest = guest_in(view)
    assert guest.content(b"/up/up/up/d/file") == b"inside"
    assert guest.content(b"/up/secret") == -errno.ENOENT
    assert guest.content(b"/out/secret") == -errno.ENOENT
    fd = guest.open(b"/", os.O_RDONLY | os.O_DIRECTORY)
    assert guest.open(b"../secret", dfd=fd) == -errno.ENOENT
    assert guest.open(b"../../d/file", dfd=fd) > 0


def test_the_hosts_proc_sys_dev_never_show(guest_in: GuestIn) -> None:
    guest = guest_in("/")
    assert guest.stat(b"/proc/1") == -errno.ENOENT
    assert guest.stat(b"/dev/mem") == -errno.ENOENT
    assert guest.stat(b"/sys/kernel/security") == -errno.ENOENT
    dev = guest.stat(b"/dev")
    root = guest.stat(b"/")
    assert isinstance(dev, dict) and isinstance(root, dict) and dev["dev"] != root["dev"]
    assert root["ino"] != os.stat("/").st_ino


def test_a_directory_swapped_for_a_link(view: Path, guest_in: GuestIn) -> None:
    guest = guest_in(view)
    assert guest.content(b"/d/file") == b"inside"
    (view / "d").rename(view / "moved")
    (view / "d").symlink_to(view.parent)
    for _ in range(2):
        assert guest.content(b"/d/secret") == -errno.ENOENT
        guest.k.vfs.host._held.clear()  # as if many other directories had been used: the next look opens it anew


def test_a_file_swapped_after_the_look(view: Path, guest_in: GuestIn) -> None:
    guest = guest_in(view)
    assert isinstance(guest.stat(b"/d/file"), dict)
    (view / "d" / "file").unlink()
    (view / "d" / "file").symlink_to(view.parent / "secret")
    assert guest.open(b"/d/file") == -errno.ENOENT
    (view / "d" / "file").unlink()
    os.mkfifo(view / "d" / "file")
    assert guest.open(b"/d/file") == -errno.ENOENT  # and it does not wait for a writer


def test_special_host_files_are_not_opened(view: Path, guest_in: GuestIn) -> None:
    os.mkfifo(view / "fifo")
    guest = guest_in(view)
    fd = guest.open(b"/fifo", os.O_RDWR)
    assert fd > 0 and guest.write(fd, b"inside only") == 11
    assert guest.read(fd) == b"inside only"
    with pytest.raises(OSError, match="No such device"):  # nobody has opened the host's
        os.open(view / "fifo", os.O_WRONLY | os.O_NONBLOCK)


def test_nothing_is_written_to_the_host(view: Path, guest_in: GuestIn) -> None:
    before = snapshot(view)
    guest = guest_in(view)
    assert guest.make(b"/new", b"data") == 0
    assert guest.make(b"/d/file", b"changed") == 0
    assert guest.call("rename", b"/d", b"/renamed") == 0
    assert guest.call("unlink", b"/renamed/e/deep") == 0
    assert guest.call("rmdir", b"/renamed/e") == 0
    assert guest.call("chmod", b"/renamed/file", 0o600) == 0
    assert guest.call("symlink", b"/renamed/file", b"/link") == 0
    assert guest.call("mkdir", b"/d", 0o755) == 0
    assert guest.content(b"/link") == b"changed"
    assert guest.names(b"/renamed") == [b".", b"..", b"file"]
    assert guest.names(b"/d") == [b".", b".."]
    assert snapshot(view) == before


def test_hard_links_of_the_host(view: Path, guest_in: GuestIn) -> None:
    os.link(view / "d" / "file", view / "other")
    guest = guest_in(view)
    one, other = guest.stat(b"/d/file"), guest.stat(b"/other")
    assert one == other and isinstance(one, dict) and one["nlink"] == 2
    assert guest.make(b"/other", b"through the other name") == 0
    assert guest.content(b"/d/file") == b"through the other name"


def test_inode_numbers_do_not_depend_on_the_host(view: Path, guest_in: GuestIn, tmp_path: Path) -> None:
    again = tmp_path / "again"
    (again / "d" / "e").mkdir(parents=True)
    (again / "d" / "file").write_text("elsewhere")
    first, second = guest_in(view), guest_in(again)
    one, other = first.stat(b"/d/file"), second.stat(b"/d/file")
    assert isinstance(one, dict) and isinstance(other, dict)
    assert (one["dev"], one["ino"]) == (other["dev"], other["ino"])
    assert one["ino"] != (view / "d" / "file").stat().st_ino


def test_a_limit_on_what_is_written(view: Path, guest_in: GuestIn) -> None:
    guest = guest_in(view)
    guest.k.vfs.disk.limit = guest.k.vfs.disk.used + 11000
    fd = guest.open(b"/big", os.O_WRONLY | os.O_CREAT)
    assert guest.write(fd, bytes(9000)) == 9000
    assert guest.write(fd, bytes(9000)) == -errno.ENOSPC
    assert guest.call("fallocate", fd, 0, 0, 1 << 40) == -errno.ENOSPC
    assert guest.call("ftruncate", fd, 1 << 40) == 0  # a hole takes no room
    assert guest.call("ftruncate", fd, 1 << 50) == -errno.EFBIG
    assert guest.call("close", fd) == 0
    assert guest.call("unlink", b"/big") == 0
    count = 0
    while (result := guest.make(b"/%d" % count)) == 0:
        count += 1
    assert result == -errno.ENOSPC and count <= 11
    assert all(guest.call("unlink", b"/%d" % number) == 0 for number in range(count))
    assert guest.k.vfs.disk.used == guest.k.vfs.disk.limit - 11000
    assert len(guest.k.vfs.root.children) < 10  # no trace of the names is kept
