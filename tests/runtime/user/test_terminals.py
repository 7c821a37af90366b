"""Pseudoterminals and job control: what programs show on a terminal, natively and in the machine."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "programs/terminals.py"


def test_programs_on_a_terminal_show_what_they_show_on_linux(
    emulate: Callable[..., tuple[int, bytes, bytes]], environment: dict[str, str]
) -> None:
    command = [shutil.which("python3", path=environment["PATH"]) or "python3", str(PROGRAM)]
    native = subprocess.run(command, capture_output=True, env=environment, timeout=60, stdin=subprocess.DEVNULL)
    status, output, _ = emulate(command)
    assert output.decode() == native.stdout.decode()
    assert status == native.returncode == 0


class Player:
    """Somebody at the terminal of a run of pyprobe in the host's time."""

    def __init__(self, command: str) -> None:
        words = [sys.executable, "-m", "pyprobe", "-q", "-e", 'END { printf("at the end\\n") }', "--clock", "real", "-c", command]
        self.pid, self.master = pty.fork()
        if not self.pid:
            os.execve(sys.executable, words, {**os.environ, "PS1": "$ ", "TERM": "dumb"})
        self.shown = b""

    def sees(self, text: bytes) -> None:
        """Wait until it is shown; what came before is forgotten."""
        deadline = time.monotonic() + 30
        while text not in self.shown:
            assert select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))[0], self.shown
            try:
                self.shown += os.read(self.master, 4096)
            except OSError:
                raise AssertionError(f"the end, after {self.shown!r}") from None
        self.shown = self.shown.partition(text)[2]

    def types(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def leaves(self) -> int:
        """The exit status of the run."""
        self.sees(b"at the end")
        status = os.waitpid(self.pid, 0)[1]
        os.close(self.master)  # not before: it would hang up on a run that is about to end
        return os.waitstatus_to_exitcode(status)


def test_keys_and_sizes_are_the_commands(tool: Callable[[str], str]) -> None:
    player = Player(f"{tool('bash')} --norc --noprofile --noediting -i")
    player.sees(b"$ ")
    player.types(b"sh -c 'echo go; sleep 1000'\n")
    player.sees(b"\ngo")
    player.types(b"\x03")
    player.sees(b"$ ")
    player.types(b"echo status $?; sh -c 'echo go; sleep 1000'\n")
    player.sees(b"status 130")
    player.sees(b"\ngo")
    player.types(b"\x1a")
    player.sees(b"Stopped")
    player.types(b"kill %1; trap 'echo resized; stty size' WINCH; echo s''et\n")
    player.sees(b"set\r\n")
    fcntl.ioctl(player.master, termios.TIOCSWINSZ, struct.pack("4H", 33, 77, 0, 0))
    player.types(b"\n")
    player.sees(b"resized\r\n33 77")
    player.types(b"exit\n")
    assert player.leaves() == 0


def test_quit_ends_a_run_whose_keys_are_the_commands(tool: Callable[[str], str]) -> None:
    player = Player(f"{tool('sh')} -c 'trap \"echo on\" INT; echo waiting; while :; do :; done'")
    player.sees(b"waiting")
    player.types(b"\x03")
    player.sees(b"on")
    player.types(b"\x1c")
    assert player.leaves() == 0
