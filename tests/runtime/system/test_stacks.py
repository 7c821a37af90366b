"""Kernel stacks are those that the kernel itself unwinds: the stack traces of its own kprobe events."""

from __future__ import annotations

import re
from pathlib import Path

from pyprobe.runtime.system.kernels.store import Kernel

FUNCTIONS = ("vfs_read", "security_file_permission", "do_filp_open", "kmem_cache_free", "__handle_mm_fault", "fuse_lookup_name")
LOOK = """mount -t tracefs t /sys/kernel/tracing; cd /sys/kernel/tracing
echo nosym-addr > trace_options; echo sym-offset > trace_options
for f in {}; do echo "p:x_$f $f" >> kprobe_events; echo stacktrace > events/kprobes/x_$f/trigger; done
echo 1 > events/kprobes/enable
ls /etc /proc/1 | md5sum > /dev/null; md5sum /etc/passwd /etc/nosuch &> /dev/null; echo 0 > tracing_on; cat trace
"""
FRAME = re.compile(r" => (\S+)\+0x([0-9a-f]+)/")


def test_frames(kernel: Kernel, guest, root: Path) -> None:  # type: ignore[no-untyped-def]  # a fixture that returns a function
    (root / "etc/look").write_text(LOOK.format(" ".join(FUNCTIONS)))
    points = ",".join(f"kprobe:{name}" for name in FUNCTIONS)
    script = points + ' /comm == "ls" || comm == "md5sum" || comm == "sh"/ { printf("OURS %s%s\\n", func, kstack(100)); }'
    out = guest("sh /etc/look", script=script).out
    ours = {tuple(found.split()) for found in re.findall(r"^OURS (\w+\n(?: {8}\S+\n)+)", out, re.MULTILINE)}
    theirs = set()
    for trace in re.findall(r"(?:ls|md5sum)-\d+ .*<stack trace>\n((?: => .*\n)+)", out):
        frames = [f"{name}+{int(offset, 16)}" for name, offset in FRAME.findall(trace)]
        at = next(i for i, frame in enumerate(frames) if frame.split("+")[0] in FUNCTIONS and int(frame.split("+")[1]) < 12)
        theirs.add((frames[at].split("+")[0], *frames[at + 1 :]))
    skipped = {"x86_64": 2, "arm64": 3}[kernel.arch]  # the name, the entry; arm64's own omits the caller, which the link register has
    known = {(stack[0], *stack[skipped:]) for stack in ours}
    assert len(theirs) > 15 and {stack[0] for stack in theirs} == set(FUNCTIONS), theirs
    assert not theirs - known, sorted(theirs - known)[:2]
