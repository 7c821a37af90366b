"""The user's cache, in which several processes work at once: where it is, locks that leave nothing behind, leftovers."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ABANDONED = 24 * 3600  # seconds after which a draft is nobody's


def directory(name: str) -> Path:
    """A folder of the cache (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return Path(base if os.path.isabs(base) else os.path.expanduser("~/.cache")) / "pyprobe" / name


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold a lock: a file that is there only while somebody holds it or waits for it. Where there can be none, nothing is locked.

    It is deleted while it is held, so who gets it must see whether it is still the one that others find.
    """
    file = _get(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        _give(path, file)


def sweep(folder: Path, *drafts: str) -> None:
    """Delete the locks that nobody holds, and what has one of these beginnings and was not touched for a day."""
    for path in folder.glob("*.lock"):
        _give(str(path), _get(str(path), fcntl.LOCK_EX | fcntl.LOCK_NB))
    for draft in drafts:
        for path in folder.glob(f"{draft}*"):
            with suppress(OSError):
                if time.time() - path.lstat().st_mtime < ABANDONED:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()


def _get(path: str, how: int) -> int:
    """The descriptor of a lock that is held, -1 when there can be none or, asked not to wait, somebody has it."""
    while True:
        file = -1
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(file, how)
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
            os.close(file)
        except FileNotFoundError:  # deleted meanwhile, or there is no such folder
            if file < 0:
                return -1
            os.close(file)
        except BaseException as error:
            if file >= 0:
                os.close(file)
            if isinstance(error, OSError):
                return -1
            raise


def _give(path: str, file: int) -> None:
    if file >= 0:
        with suppress(OSError):
            os.unlink(path)
        os.close(file)
