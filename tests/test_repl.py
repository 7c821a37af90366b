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


def test_a_header_of_many_points(pyprobe: Command) -> None:
    """Without blanks between them, and with its body on the next line; whatever it turns out to be, it is read at once."""
    many = ",".join(["interval:s:1"] * 40)
    done = pyprobe(stdin=f'{many}\n{{ @ = count(); }}\n{many};\nuprobe:"/a,b":c\n{{ }}\n'.encode())
    assert done.out == "clause 1 is ready; :run COMMAND runs it\n"
    assert "syntax: expected '{'" in done.err
    assert "uprobe target file '/a,b' does not exist or is not executable" in done.err


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


def test_repl_warns_once(pyprobe: Command) -> None:
    typed = b"kprobe:do_fork { @ = count(); }\nlet @unused = hash(5);\nprint(1)\nbegin { exit(); }\n:run\n"
    done = pyprobe(stdin=typed)
    assert done.err.count("'do_fork' is called") == 1 and done.err.count("Unused map: @unused") == 1
    dropped = pyprobe(stdin=b"kprobe:do_fork { }\n:drop\nkprobe:do_fork { }\n")
    assert dropped.err.count("'do_fork' is called") == 2


def test_repl_at_a_terminal() -> None:
    """Ctrl-C drops what was begun and stops a run, Ctrl-D leaves on a line of its own."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-m", "pyprobe"], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        seen = b""

        def until(word: bytes, interrupt: bool = False) -> None:
            """Read up to a word. `interrupt`: with Ctrl-C every second, since one between prompt and reading waits for a key."""
            nonlocal seen
            for _ in range(30):
                if interrupt:
                    process.send_signal(signal.SIGINT)
                while word not in seen and select.select([ours], [], [], 1)[0]:
                    seen += os.read(ours, 4096)
                if word in seen:
                    break
            assert word in seen
            seen = seen.partition(word)[2]

        try:
            until(b"pyprobe> ")
            os.write(ours, b"interval:s:1 {\n")
            until(b"...> ")
            until(b"pyprobe> ", interrupt=True)
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
        finally:
            process.kill()
            os.close(ours)
    assert seen.endswith(b"\r\n")


def test_repl_shows_the_value_of_an_expression(pyprobe: Command) -> None:
    done = pyprobe(stdin=b'1 + 1\n"a" + "b";\n(1, true)\nprintf("hi\\n")\nprint(7)\n$x = 5\nnosuch + 1\n')
    assert done.out.split() == ["2", "ab", "(1,", "true)", "hi", "7"]
    assert "Unknown identifier: 'nosuch'" in done.err and "Return value discarded" not in done.err
