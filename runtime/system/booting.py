"""From a kernel to a machine that is ready for a command: boot it once, keep a snapshot, start from that ever after."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pyprobe.runtime.machine.clock import EPOCH_NS, Clock
from pyprobe.runtime.machine.library import build_id
from pyprobe.runtime.machine.unicorn import locate
from pyprobe.runtime.system import cache, snapshot
from pyprobe.runtime.system.internals import offsets
from pyprobe.runtime.system.machine import Board, Hang, SystemMachine
from pyprobe.runtime.system.ram import MB, Ram
from pyprobe.runtime.system.root.channel import Event
from pyprobe.version import VERSION

if TYPE_CHECKING:
    from pyprobe.runtime.system.description import SystemDescription
    from pyprobe.runtime.system.kernels.store import Kernel

MEMORY = 256  # MB
KEPT = 4  # snapshots of one kernel; older ones are deleted
CONSOLE_LINES = 20  # of a failed boot that are shown
PROGRESS = 100_000_000  # virtual nanoseconds between two signs of life


class BootError(Exception):
    """A kernel that did not come up; the message ends with the last lines of its console."""


class Options(NamedTuple):
    """memory: in MB. append: added to the kernel's command line. epoch_ns: where the real-time clock starts, since 1970."""

    memory: int = MEMORY
    append: str = ""
    epoch_ns: int = EPOCH_NS


def make_board(arch: str, ram: Ram, clock: Clock, native: bool | None) -> Board:
    """A computer of an architecture."""
    if arch == "arm64":
        from pyprobe.runtime.system.board_arm64 import BoardArm64

        return BoardArm64(ram, clock, native=native)
    from pyprobe.runtime.system.board_x86_64 import BoardX86

    return BoardX86(ram, clock, native=native)


def ram_base(arch: str) -> int:
    """Where RAM begins in a computer of an architecture."""
    if arch == "arm64":
        from pyprobe.runtime.system.board_arm64 import RAM_BASE

        return RAM_BASE
    return 0


class Boot:
    """One kernel with its options and initramfs. progress: told what is being done, where a terminal can show it."""

    def __init__(
        self,
        kernel: Kernel,
        options: Options,
        initrd: bytes,
        description: SystemDescription,
        progress: Callable[[str], None] = lambda text: None,
        warn: Callable[[str], None] = lambda text: None,
        native: bool | None = None,
    ) -> None:
        offsets()  # complains before anything is done
        self.kernel = kernel
        self.options = options
        self.initrd = initrd
        self.description = description
        self.progress = progress
        self.warn = warn
        self.native = native

    def fresh(self, clock: Clock) -> SystemMachine:
        """A machine at the kernel's first instruction. Raises BootError."""
        arch = self.kernel.arch
        board = make_board(arch, Ram(ram_base(arch), self.options.memory * MB), clock, self.native)
        command_line = " ".join(filter(None, (board.command_line, "rdinit=/init", self.options.append)))
        try:
            with (
                open(self.kernel.image, "rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
                memoryview(mapped) as image,
            ):
                if hashlib.sha256(image).hexdigest() != self.kernel.digest:
                    raise BootError(f"the image of kernel {self.kernel.name} is damaged; install or add it again")
                board.boot(image, self.initrd, command_line)
        except ValueError as error:
            raise BootError(str(error)) from None
        return SystemMachine(board, self.description)

    def ready(self, clock: Clock) -> SystemMachine:
        """A machine whose init waits for a command. Raises BootError."""
        path = self._path()
        if path is None:
            return self._boot(clock)
        found = self._open(path)
        if found is None:
            with cache.locked(path.removesuffix(".snapshot") + ".lock"):  # somebody else may be at it
                found = self._open(path)
                if found is None:
                    machine = self._boot(Clock(self.options.epoch_ns))
                    try:
                        snapshot.write(path, machine.board.ram, machine.save())
                        self._prune(path)
                        found = snapshot.Snapshot.open(path)
                    except (OSError, snapshot.Damaged) as error:
                        self._not_kept(snapshot.directory(), error)
                        return self._boot(clock)
                    finally:
                        machine.close()
        return self._restore(found, clock)

    def _restore(self, found: snapshot.Snapshot, clock: Clock) -> SystemMachine:
        board = make_board(self.kernel.arch, found.ram(ram_base(self.kernel.arch)), clock, self.native)
        found.close()
        machine = SystemMachine(board, self.description)
        machine.load(found.state)
        return machine

    def _open(self, path: str) -> snapshot.Snapshot | None:
        try:
            return snapshot.Snapshot.open(path)
        except FileNotFoundError:
            return None
        except snapshot.Damaged as error:
            self.warn(f"the snapshot of the booted kernel is damaged ({error}); the kernel is booted again")
            with suppress(OSError):
                os.unlink(path)
            return None

    def _boot(self, clock: Clock) -> SystemMachine:
        machine = self.fresh(clock)
        machine.until(Event.READY)
        name = self.kernel.name

        def sign() -> None:
            lines = machine.board.console.decode("latin-1").splitlines()
            self.progress(f"booting {name}: {lines[-1] if lines else ''}")
            if not machine.ready:
                clock.add(clock.now() + PROGRESS, sign)

        clock.add(PROGRESS, sign)
        try:
            machine.run()
        except Hang as error:
            raise BootError(f"kernel {name} did not come up: {error}{last_lines(machine.board.console)}") from None
        finally:
            self.progress("")
        if machine.channel.failure is not None:
            errno, step, _ = machine.channel.failure
            reason = f"its init could not {step.decode()}: {os.strerror(errno)}"
            raise BootError(f"kernel {name} did not come up: {reason}{last_lines(machine.board.console)}")
        if not machine.ready:
            how = {"off": "it was powered off", "reset": "it panicked"}.get(machine.power, "its init did nothing")
            raise BootError(f"kernel {name} did not come up: {how}{last_lines(machine.board.console)}")
        return machine

    # where the snapshot is kept

    def _path(self) -> str | None:
        """The file for exactly this machine, None where there is no place for files."""
        what = {
            "version": VERSION,
            "code": code_digest(),
            "libunicorn": build_id(locate()),
            "kernel": self.kernel.digest,
            "options": self.options,
            "initrd": hashlib.sha256(self.initrd).hexdigest(),
        }
        key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]
        folder = snapshot.directory()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._not_kept(folder, error)
            return None
        return str(folder / snapshot.name(self.kernel.digest, key))

    def _not_kept(self, folder: Path, error: Exception) -> None:
        why = error.strerror if isinstance(error, OSError) else str(error)  # without the name of a draft that nobody has heard of
        self.warn(f"the snapshot of the booted kernel can't be kept, so every run will boot it again: {folder}: {why}")

    def _prune(self, path: str) -> None:
        """Delete all but the newest snapshots of this kernel, and what others left."""
        for old in snapshot.family(self.kernel.digest)[KEPT:]:
            if str(old) != path:
                old.unlink(missing_ok=True)
        cache.sweep(snapshot.directory(), snapshot.DRAFT)


def code_digest() -> str:
    """A digest of the code that makes a machine what it is: a snapshot of a checkout that was changed since is of no use."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    machine = here.parent / "machine"
    files = [*here.glob("*.py"), *(here / "devices").glob("*.py"), machine / "clock.py", machine / "twin.py"]
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def last_lines(console: bytes) -> str:
    """The end of what the kernel said, to go below a message."""
    lines = console.decode("utf-8", "replace").replace("\r", "").rstrip("\n").split("\n")[-CONSOLE_LINES:]
    return "".join(f"\n    {line}" for line in lines if line)


def terminal_progress() -> Callable[[str], None]:
    """Shows one changing line on stderr, where that is a terminal; "" removes it."""
    if not sys.stderr.isatty():
        return lambda text: None

    def show(text: str) -> None:
        sys.stderr.write(f"\r\033[K{text[:100]}")
        sys.stderr.flush()

    return show


__all__ = ["Boot", "BootError", "Options", "last_lines", "terminal_progress"]
