"""Plays the terminal of other programs and prints what they show: run natively and in the machine by test_terminals.py."""

import os
import pty
import time


def run(command, *keys):
    pid, master = pty.fork()
    if not pid:
        os.execvp(command[0], command)
    shown = b""
    for text in keys:
        time.sleep(0.25)
        os.write(master, text)
    while True:
        try:
            data = os.read(master, 1000)
        except OSError:
            break
        if not data:
            break
        shown += data
    status = os.waitpid(pid, 0)[1]
    os.close(master)  # not before: it would hang up on a program that is about to exit
    print(shown, status)


run(["sh", "-c", "tty >/dev/null && echo terminal; stty size; stty -a"])
run(["cat"], b"hello\n", b"abc\x7fd\n", b"x y zz\x17q\n", b"gone\x15new\n", b"a\x16\x03b\n", b"\x04")
READS = "read a; echo got $a; stty -echo; read b; echo got $b; stty raw; dd bs=1 count=3 2>/dev/null"
run(["sh", "-c", READS], b"one\n", b"two\n", b"a\rb")
run(["sh", "-c", "sleep 5; echo no"], b"\x03")
run(["sh", "-c", "trap 'echo int' INT; sleep 5; echo after"], b"\x03")
run(["sh", "-c", "stty -icanon min 0 time 1; dd bs=5 count=1 2>/dev/null | wc -c"])
run(["bash", "-c", "set -m; sleep 0.1 & fg >/dev/null; cat </dev/tty & sleep 0.1; jobs %2; kill -9 %2; wait %2 2>/dev/null; echo $?"])
run(["setsid", "-w", "sh", "-c", "tty >/dev/null && echo terminal; : </dev/tty || echo none"])
