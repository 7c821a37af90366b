"""The REPL as a user meets it: typed lines in, answers out, at a terminal and through a pipe."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable

from tests.conftest import Result

Command = Callable[..., Result]


def test_repl(pyprobe: Command) -> None:
    typed = """\
print(7 / 2)
kprobe:do_fork {
    @[comm] = count();
}
kprobe:nosuchthing { }
:show
:run
:drop 1
:quit
"""
    done = pyprobe(stdin=typed.encode())
    assert done.status == 0
    assert done.out.startswith("3\n")
    assert "@[session]: 10" in done.out
    assert "No matches for kprobe nosuchthing." in done.err
    assert "1: kprobe:do_fork {" in done.out


def test_repl_takes_clauses_over_several_lines_and_in_any_order(pyprobe: Command) -> None:
    """A header waits for its body, in braces or `<`; definitions come before the probes and are there for statements, too."""
    typed = """\
kprobe:do_fork <
    @[comm] = count();
>
macro next($x)
{ $x + 1 }
struct pair { int a; int b; }
// a remark
$one = 1; print(next($one)) // another
sizeof(struct pair)
:show
begin
{ print("with the clauses"); }
:run
"""
    done = pyprobe(stdin=typed.encode())
    assert done.out.startswith(
        """\
clause 1 is ready; :run COMMAND runs it
clause 2 is ready; :run COMMAND runs it
clause 3 is ready; :run COMMAND runs it
2


8


1: kprobe:do_fork <
    @[comm] = count();
>
2: macro next($x)
{ $x + 1 }
3: struct pair { int a; int b; }
clause 4 is ready; :run COMMAND runs it
with the clauses
"""
    )
    assert "@[session]: 10" in done.out and "ERROR" not in done.err


def test_repl_at_a_terminal() -> None:
    """Ctrl-C drops what was begun and stops a run, Ctrl-D leaves on a line of its own."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-m", "pyprobe"], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        seen = b""

        def until(word: bytes) -> None:
            nonlocal seen
            while word not in seen:
                assert select.select([ours], [], [], 30)[0], seen
                seen += os.read(ours, 4096)
            seen = seen.partition(word)[2]

        until(b"pyprobe> ")
        os.write(ours, b"interval:s:1 {\n")
        until(b"...> ")
        process.send_signal(signal.SIGINT)
        until(b"pyprobe> ")
        os.write(ours, b"interval:ms:1 { print(7); }\n")
        until(b"clause 1 is ready")
        os.write(ours, b":run\n")
        until(b"7\r\n")
        process.send_signal(signal.SIGINT)
        until(b"pyprobe> ")
        os.write(ours, b"\x04")
        assert process.wait(timeout=30) == 0
        while select.select([ours], [], [], 0)[0]:
            try:
                seen += os.read(ours, 4096)
            except OSError:  # what Linux says of a terminal that nobody holds any more
                break
        os.close(ours)
    assert seen.endswith(b"\r\n")


def test_repl_shows_the_value_of_an_expression(pyprobe: Command) -> None:
    done = pyprobe(stdin=b'1 + 1\n"a" + "b";\n(1, true)\nprintf("hi\\n")\nprint(7)\n$x = 5\nnosuch + 1\n')
    assert done.out.split() == ["2", "ab", "(1,", "true)", "hi", "7"]
    assert "Unknown identifier: 'nosuch'" in done.err and "Return value discarded" not in done.err
