"""cat() on a booted kernel: what a program in the guest would see, changed files and mounts included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.conftest import Result

Guest = Callable[..., Result]
MADE = "its content is made by the guest's kernel, when a program there reads it"
WORK = """echo new > /tmp/new; ln -s new /tmp/link; echo changed > /etc/changed; rm /etc/gone; echo shared > /dev/shm/x
    rm -r /etc/was; mkdir /etc/was; echo again > /etc/was/new; mkdir /mnt; mount -t tmpfs none /mnt; echo mounted > /mnt/a
    ln -s /proc/self/../../mnt/../etc /tmp/etc; i=0; while [ $i -lt 900 ]; do echo line $i; i=$((i+1)); done > /big"""


SEEN = {
    "/etc/kept": "the host's etc/kept\n", "/tmp/new": "new\n", "/tmp/link": "new\n", "/etc/changed": "changed\n",
    "/dev/shm/x": "shared\n", "/etc/was/new": "again\n", "/mnt/a": "mounted\n", "/../mnt/./a": "mounted\n", "tmp/new": "new\n",
    "//etc//kept": "the host's etc/kept\n", "/big": "".join(f"line {i}\n" for i in range(900)),
    "/tmp": "",
}  # fmt: skip
NOT_SEEN = {
    "/etc/gone": "No such file or directory", "/etc/was/old": "No such file or directory", "/nosuch/file": "No such file or directory",
    "/etc/kept/x": "Not a directory", "/proc/uptime": MADE, "/sys/kernel/notes": MADE, "/tmp/etc/passwd": MADE,
}  # fmt: skip


def test_files_as_the_guest_has_them(guest: Guest, root: Path) -> None:
    (root / "etc/was").mkdir()
    for name in ("etc/gone", "etc/changed", "etc/kept", "etc/was/old"):
        (root / name).write_text(f"the host's {name}\n")
    (root / "work.sh").write_text(WORK)
    calls = "".join(f'cat("{path}");' for path in (*SEEN, *NOT_SEEN))
    done = guest("sh /work.sh", script=f'kprobe:do_exit /comm == "sh"/ {{ {calls} }}')
    assert done.out == "".join(SEEN.values()) + "\n\n", done
    assert done.err.splitlines() == [f"ERROR: failed to open file '{path}' ({reason})" for path, reason in NOT_SEEN.items()]


def test_before_anything_has_run(guest: Guest) -> None:
    assert guest("true", script='begin { cat("/etc/hostname"); }').out.strip()
