"""Nothing of the host enters a run: the whole trace is the same with another hash seed, time zone, locale and working directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

TRACE = """
import hashlib, sys
from pyprobe.runtime.user.machine import UserMachine
machine, out = UserMachine(), bytearray()
command = "ls -la /etc | head -5; echo $$; (sleep 0.01; date +%N) & for i in 1 2 3; do head -c3 /dev/urandom | od -An; done; wait"
machine.spawn([b"/bin/sh", b"-c", command.encode()], [b"PATH=/usr/bin:/bin"], b"/etc", (b"", out.extend, out.extend))
machine.functions.trace_stack()
def note(thing, kind):
    def call():
        values = thing.values if kind == "tracepoint" else thing.args if kind == "entry" else thing.retval
        out.extend(repr((machine.clock.now(), thing.name, kind, values, machine.functions.stack())).encode())
    return call
for f in machine.functions:
    machine.functions.attach(f.name, note(f, "entry"), note(f, "exit"))
for t in machine.tracepoints:
    machine.tracepoints.attach(t.category, t.name, note(t, "tracepoint"))
status = machine.run()
print(status, len(out), hashlib.sha256(out).hexdigest())
"""


def test_same_trace_on_another_host(tmp_path: Path) -> None:
    def run(cwd: Path, **environment: str) -> str:
        env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        return subprocess.run([sys.executable, "-c", TRACE], cwd=cwd, env=env, capture_output=True, text=True, check=True).stdout

    first = run(ROOT, PYTHONHASHSEED="1", TZ="Asia/Tokyo", LC_ALL="C")
    assert first == run(tmp_path, PYTHONHASHSEED="77", TZ="America/Lima", LC_ALL="C.UTF-8", MORE="x" * 1000)
    assert first.startswith("0 ")
