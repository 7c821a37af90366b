"""Tracepoints of modules that the guest loads, against what the kernel's own tracefs prints of the same events, in the same run."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pyprobe.runtime.system.kernels.store import Kernel
from tests.conftest import ROOT, Result
from tests.runtime.system.conftest import COMPILERS

Guest = Callable[..., Result]
MODULE = "vmw_vsock_virtio_transport_common"
LINE = re.compile(r"\d: (virtio_transport_\w+): (\d+):(\d+) -> (\d+):(\d+) len=(\d+)")
FIELDS = "args.src_cid, args.src_port, args.dst_cid, args.dst_port, args.len"
SCRIPT = "".join(
    f'{probe}:{name} {{ printf("{word} {name} %u:%u -> %u:%u len=%u\\n", {FIELDS}); }}\n'
    for probe, word in (("tracepoint:vsock", "EVENT"), (f"rawtracepoint:{MODULE}", "RAW"))
    for name in ("virtio_transport_alloc_pkt", "virtio_transport_recv_pkt")
)


@pytest.fixture
def insert(kernel: Kernel, root: Path, tool) -> str:  # type: ignore[no-untyped-def]  # a fixture that returns a function
    """The commands that load vsock's loopback; the program that uses it is /vsock."""
    order = kernel.load_order("vsock_loopback")
    if not order:
        pytest.skip(f"kernel {kernel.name} was installed without vsock_loopback: pyprobe kernel install {kernel.name}")
    folder = root / "lib/modules" / kernel.release
    folder.mkdir(parents=True)
    for path in order:
        shutil.copy(path, folder)
    compiler = tool(COMPILERS[kernel.arch])
    subprocess.run([compiler, "-O2", "-static", "-o", root / "vsock", ROOT / "tests/programs/vsock.c"], check=True, timeout=60)
    return "; ".join(f"insmod /lib/modules/{kernel.release}/{path.name}" for path in order)


def seen(output: str, word: str) -> list[str]:
    """The lines that a probe has printed, without its word."""
    return [line.removeprefix(f"{word} ") for line in output.splitlines() if line.startswith(f"{word} ")]


def test_events_are_those_of_the_kernel(insert: str, guest: Guest) -> None:
    trace = "mount -t tracefs t /sys/kernel/tracing; echo 1 > /sys/kernel/tracing/events/vsock/enable"
    done = guest(f"sh -c '{insert}; {trace}; /vsock; cat /sys/kernel/tracing/trace'", script=SCRIPT)
    theirs = [f"{name} {a}:{b} -> {c}:{d} len={size}" for name, a, b, c, d, size in LINE.findall(done.out)]
    assert "sent" in done.out and len(theirs) > 10, done
    assert seen(done.out, "EVENT") == theirs
    assert seen(done.out, "RAW") == theirs


def test_nobody_else_traces_and_it_is_loaded_twice(kernel: Kernel, insert: str, guest: Guest) -> None:
    """Nothing of the kernel's own is switched on; what is gone fires no more, and what comes again does."""
    remove = "; ".join(f"rmmod {path.stem}" for path in reversed(kernel.load_order("vsock_loopback")))
    plain = guest(f"sh -c '{insert}; /vsock; {remove}; {insert}; /vsock'", script=SCRIPT)
    both = seen(plain.out, "EVENT")
    kinds = [(line.split()[0], line.split("len=")[1]) for line in both]
    assert plain.out.count("sent") == 2 and "WARNING" not in plain.err, plain.err
    assert len(kinds) > 20 and kinds[: len(kinds) // 2] == kinds[len(kinds) // 2 :]
    assert seen(plain.out, "RAW") == both


def test_listing(kernel: Kernel, insert: str, pyprobe) -> None:  # type: ignore[no-untyped-def]  # a fixture that returns a function
    raw = pyprobe("--kernel", kernel.name, "-lv", f"rawtracepoint:{MODULE}:*_recv_pkt")
    assert raw.out.splitlines()[:3] == [f"rawtracepoint:{MODULE}:virtio_transport_recv_pkt", "    __u32 src_cid", "    __u32 src_port"]
    missing = pyprobe("--kernel", kernel.name, "-e", "tracepoint:vsock:nosuch { }", "-c", "true")
    assert missing.err.splitlines()[0] == "stdin:1:1-24: ERROR: No matches for tracepoint vsock:nosuch."
