"""The user's cache with several processes at work in it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pyprobe.runtime.system import cache, snapshot
from pyprobe.runtime.system.kernels import store
from tests.conftest import ROOT, Result
from tests.runtime.system.packages import image

COUNT = """
import os, sys
from pyprobe.runtime.system.cache import locked
lock, file = sys.argv[1:]
for _ in range(200):
    with locked(lock):
        number = int(open(file).read())
        with open(file, "w") as out:
            out.write(str(number + 1))
"""


def test_a_lock_is_held_by_one_and_leaves_nothing(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    command = [sys.executable, "-c", COUNT, str(tmp_path / "x.lock"), str(counter)]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [process.wait(timeout=60) for process in processes] == [0] * 4
    assert counter.read_text() == "800"
    assert os.listdir(tmp_path) == ["counter"]


def test_without_a_place_nothing_is_locked(tmp_path: Path) -> None:
    with cache.locked(str(tmp_path / "none" / "x.lock")):
        assert os.listdir(tmp_path) == []


def test_a_killed_process_leaves_nothing_for_long(tmp_path: Path) -> None:
    day = cache.ABANDONED
    for name in ("free.lock", "held.lock", ".draft-new", ".draft-old", "kept"):
        (tmp_path / name).write_text("")
    (tmp_path / ".gone-old").mkdir()
    (tmp_path / ".gone-old/it").write_text("")
    for name in (".draft-old", ".gone-old"):
        os.utime(tmp_path / name, (0, (tmp_path / name).stat().st_mtime - 2 * day))
    with open(tmp_path / "held.lock") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        cache.sweep(tmp_path, ".draft-", ".gone-")
    assert sorted(os.listdir(tmp_path)) == [".draft-new", "held.lock", "kept"]


def test_a_removed_kernel_takes_its_snapshots_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "Image").write_bytes(image())
    (tmp_path / "other").write_bytes(image(size=3 << 20))
    one, _, other = (store.add(name, [tmp_path / file]) for name, file in (("one", "Image"), ("two", "Image"), ("other", "other")))
    folder = snapshot.directory()
    folder.mkdir()

    def keep(digest: str) -> None:
        (folder / snapshot.name(digest, "key")).write_text("")

    def kept() -> list[str]:
        return sorted(os.listdir(folder))

    keep(one.digest)
    keep(other.digest)
    store.remove("one")
    assert len(kept()) == 2  # `two` is the same kernel
    store.remove("two")
    assert kept() == [snapshot.name(other.digest, "key")]
    keep(one.digest)
    store.add("other", [tmp_path / "Image"])  # in place of the one of that name
    assert kept() == [snapshot.name(one.digest, "key")]
    store.remove("other")
    assert kept() == [] and os.listdir(store.directory()) == []


@pytest.mark.parametrize("kernel", ["debian-arm64"], indirect=True)
def test_first_runs_at_the_same_time(kernel: store.Kernel, pyprobe: Callable[..., Result], tmp_path: Path) -> None:
    """One boots it, the others wait and go on from there."""
    files = [str(kernel.image), *(str(kernel.modules[name]) for name in ("fuse", "overlay") if name in kernel.modules)]
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "pyprobe"]
    subprocess.run([*command, "kernel", "add", "k", *files], env=env, check=True, timeout=60, capture_output=True, cwd=ROOT)
    run = [*command, "-q", "--kernel", "k", "-e", 'BEGIN { printf("up\\n"); }']
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(run, env=env, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) for _ in range(3)]
    results = [process.communicate(timeout=120) for process in processes]
    assert [(out.split()[0], err) for out, err in results] == [("up", "")] * 3
    assert len({out for out, _ in results}) == 1
    assert len(os.listdir(tmp_path / "pyprobe/snapshots")) == 1 and not list((tmp_path / "pyprobe").rglob("*.lock"))
