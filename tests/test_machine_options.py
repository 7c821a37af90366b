"""The options that say what the machine is given of this host, and its bounds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
OPENS = "tracepoint:syscalls:sys_enter_openat { @ = count(); }"


@pytest.fixture(name="run")
def run_fixture(tmp_path: Path) -> Run:
    """`run(*words)`: the command with a script that counts opened files."""

    def run(*words: str, script: str = OPENS) -> subprocess.CompletedProcess[str]:
        environ = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "LC_ALL": "C"}
        command = [sys.executable, "-m", "pyprobe", "-q", "-e", script, *words]
        return subprocess.run(command, capture_output=True, text=True, env=environ, cwd=tmp_path, timeout=120)

    return run


def test_diff_and_keep(run: Run, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    (tmp_path / "gone").write_text("x")
    (tmp_path / "same").write_text("x")
    (tmp_path / "folder").mkdir()
    script = "echo new >> old; rm gone; mkdir -p a/b; echo y > a/b/c; ln -s /etc/passwd a/l; chmod 600 same"
    script += "; rmdir folder; mkdir folder; echo z > folder/f"
    done = run("--diff", "--keep", str(tmp_path / "kept"), "-c", f"sh -c '{script}'")
    here = str(tmp_path)
    assert [line.replace(here, "") for line in done.stderr.splitlines()] == [
        "A /a", "A /a/b", "A /a/b/c", "A /a/l", "C /folder", "A /folder/f", "D /gone", "C /old", "C /same",
    ]  # fmt: skip
    kept = tmp_path / "kept" / here[1:]
    assert (kept / "old").read_text() == "oldnew\n" and (kept / "a/b/c").read_text() == "y\n"
    assert os.readlink(kept / "a/l") == "/etc/passwd"
    assert (kept / ".wh.gone").read_text() == "" and (kept / "folder/.wh..wh..opq").exists()
    assert (kept / "same").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "old").read_text() == "old" and (tmp_path / "gone").exists()
    again = run("--keep", str(tmp_path / "kept"), "-c", "true")
    assert again.returncode == 1 and "exists and is no empty directory" in again.stderr
    below_a_file = run("--keep", str(tmp_path / "old" / "kept"), "-c", "true")
    assert below_a_file.returncode == 1 and f"kept: cannot be made in {tmp_path / 'old'}" in below_a_file.stderr
    refused = run("--keep", "/proc/kept", "-c", "touch new")  # where even root may write but make nothing
    assert refused.returncode in (0, 1) and "--keep /proc/kept: " in refused.stderr and "pyprobe itself" not in refused.stderr


def test_view(run: Run, tool: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "seen").write_text("text\n")
    (tmp_path / "unseen").write_text("secret\n")
    system = [word for path in ("/lib", "/lib64", "/usr/lib", "/bin/ls") if os.path.exists(path) for word in ("--view", path)]
    listing = run(*system, "--view", str(tmp_path / "seen"), "-c", f"sh -c 'ls {tmp_path}; ls /'")
    assert "unseen" not in listing.stdout and "seen\n" in listing.stdout and "etc" not in listing.stdout.split()
    missing = run("--view", "none", "-c", "ls")
    assert "its interpreter is missing" in missing.stderr
    assert run("--view", "none", "--view", "/etc", "-c", "ls").returncode == 1
    assert run("--view", "nosuch", "-c", "ls").stderr == "ERROR: --view nosuch: no such file or directory\n"


def test_uid(run: Run) -> None:
    assert run("--uid", "12345:77", "-c", "sh -c 'id -u; id -g; cat /proc/self/environ >/dev/null && echo mine'").stdout.split()[:3] == [
        "12345", "77", "mine",
    ]  # fmt: skip
    for wrong in ("me", "", ":5", "-1"):
        assert "must be UID" in run("--uid", wrong, "-c", "id").stderr


def test_time_limit_keeps_the_trace(run: Run) -> None:
    done = run("--limit", "time=0.5", "-c", "sh -c 'cat /etc/hostname >/dev/null; while :; do :; done'")
    assert "time (--limit time) was up" in done.stderr and "@: " in done.stdout and done.returncode == 0


def test_other_limits(run: Run) -> None:
    disk = run("--limit", "disk=1M", "-c", "sh -c 'dd if=/dev/zero of=big bs=64k count=100; ls -l big'")
    assert "No space left on device" in disk.stderr and "--limit disk" in disk.stderr
    tasks = run("--limit", "tasks=5", "-c", "sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait'")
    assert "--limit tasks" in tasks.stderr
    memory = run("--limit", "memory=32M", "-c", "sh -c 'head -c 200m /dev/zero | tail -c 190m | wc -c'")
    assert "--limit memory" in memory.stderr


@pytest.mark.parametrize("setting", ["time", "time=x", "memory=1", "tasks=0", "tasks=4K", "disk=-1", "what=3", "memory=9999999G"])
def test_bad_limits(setting: str, run: Run) -> None:
    done = run("--limit", setting, "-c", "true")
    assert done.returncode == 1 and done.stderr.startswith(f"ERROR: USAGE: --limit {setting}: ")


def test_missing_root(run: Run) -> None:
    assert run("--root", "/no/such", "-c", "true").stderr == "ERROR: --root /no/such: no such directory\n"


def test_how_the_command_ended(run: Run) -> None:
    assert "sh ended with exit status 3" in run("-v", "-c", "sh -c 'exit 3'").stderr
    assert "sh was ended by SIGTERM" in run("-v", "-c", "sh -c 'kill $$'").stderr
