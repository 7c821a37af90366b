"""The contracts of the kernel's own tests (lib/test_kprobes.c, arch tests of kernel/kprobes.c) and of Documentation/trace/kprobes.rst."""

from __future__ import annotations

import errno

import pytest

from pyprobe.runtime.kprobes.api import (
    KPROBE_FLAG_DISABLED,
    KPROBE_FLAG_ON_FUNC_ENTRY,
    Kprobe,
    KprobeError,
    Kretprobe,
    kprobe_disabled,
)
from pyprobe.runtime.kprobes.registers import instruction_pointer, regs_get_kernel_argument, regs_return_value
from pyprobe.runtime.machine.engine import StopKind
from pyprobe.runtime.machine.memory import MemoryFault, R
from pyprobe.runtime.machine.unwind import unwind
from tests.runtime.kprobes.conftest import CODE, TARGET, TARGET2

pytestmark = pytest.mark.filterwarnings("error")


def refused(call, *arguments):
    with pytest.raises(KprobeError) as error:
        call(*arguments)
    return error.value.errno


def test_kprobe(kernel):
    """test_kprobe: pre and post handler of one probe."""
    seen = []
    kp = Kprobe(
        symbol_name="target",
        pre_handler=lambda p, regs: seen.append(("pre", p.addr, regs_get_kernel_argument(regs, 0), instruction_pointer(regs))),
        post_handler=lambda p, regs, flags: seen.append(("post", flags, instruction_pointer(regs))),
    )
    kernel.kprobes.register_kprobe(kp)
    assert kp.addr == TARGET and kp.flags == KPROBE_FLAG_ON_FUNC_ENTRY
    assert kernel.run() == 16
    pointer = TARGET + (1 if kernel.arch == "x86_64" else 0)
    assert seen == [("pre", TARGET, 5, pointer), ("post", 0, TARGET + kernel.second)] * 3
    kernel.kprobes.unregister_kprobe(kp)
    assert kernel.run() == 16 and len(seen) == 6 and kp.addr == 0


def test_kprobes(kernel):
    """test_kprobes: an array."""
    seen = []
    before = kernel.code()
    kps = [Kprobe(symbol_name=n, pre_handler=lambda p, regs: seen.append(p.symbol_name)) for n in ("target", "target2")]
    kernel.kprobes.register_kprobes(kps)
    kernel.run()
    assert seen == ["target", "target2", "target", "target2", "target"]
    kernel.kprobes.unregister_kprobes(kps)
    assert kernel.code() == before
    for kp, name in zip(kps, ("target", "target2"), strict=True):
        kp.symbol_name = name
    kernel.kprobes.register_kprobes(kps)


def test_an_array_is_registered_wholly_or_not_at_all(kernel):
    before = kernel.code()
    kps = [Kprobe(symbol_name="target"), Kprobe(symbol_name="nothing")]
    assert refused(kernel.kprobes.register_kprobes, kps) == errno.ENOENT
    assert kernel.code() == before and not kernel.kprobes.table
    rps = [Kretprobe(symbol_name="target"), Kretprobe(symbol_name="nothing")]
    assert refused(kernel.kprobes.register_kretprobes, rps) == errno.ENOENT
    assert kernel.code() == before
    assert refused(kernel.kprobes.register_kprobes, []) == errno.EINVAL


def test_kprobe_missed(kernel):
    """test_kprobe_missed: a hit within a handler is skipped and counted."""
    seen = []
    inner = Kprobe(symbol_name="target", pre_handler=lambda p, regs: seen.append("inner"))
    kernel.kprobes.register_kprobe(inner)
    hit = kernel.kprobes.table[TARGET].hit
    outer = Kprobe(symbol_name="target2", pre_handler=lambda p, regs: (seen.append("outer"), hit(), 0)[-1])
    kernel.kprobes.register_kprobe(outer)
    kernel.run()
    assert inner.nmissed == 2 and outer.nmissed == 0
    assert seen == ["inner", "outer", "inner", "outer", "inner"]


def test_several_at_one_address(kernel):
    seen = []
    kps = [Kprobe(addr=TARGET, pre_handler=lambda p, regs, n=n: seen.append(n)) for n in range(3)]
    for kp in kps:
        kernel.kprobes.register_kprobe(kp)
    late = Kprobe(addr=TARGET, post_handler=lambda p, regs, flags: seen.append("post"))
    kernel.kprobes.register_kprobe(late)
    kernel.run()
    assert seen == [0, 1, 2, "post"] * 3
    kernel.kprobes.unregister_kprobe(kps[1])
    kernel.kprobes.unregister_kprobe(late)
    seen.clear()
    assert kernel.run() == 16
    assert seen == [0, 2] * 3


def test_disabled_and_enabled(kernel):
    seen = []
    before = kernel.code()
    kp = Kprobe(symbol_name="target", pre_handler=lambda p, regs: seen.append(1), flags=KPROBE_FLAG_DISABLED)
    kernel.kprobes.register_kprobe(kp)
    assert kprobe_disabled(kp) and kernel.code() == before
    kernel.run()
    kernel.kprobes.enable_kprobe(kp)
    assert kernel.code() != before
    kernel.run()
    kernel.kprobes.disable_kprobe(kp)
    kernel.run()
    assert len(seen) == 3 and kernel.code() == before
    assert refused(kernel.kprobes.enable_kprobe, Kprobe(symbol_name="target")) == errno.EINVAL


def test_errors(kernel):
    register = kernel.kprobes.register_kprobe
    assert refused(register, Kprobe()) == errno.EINVAL
    assert refused(register, Kprobe(symbol_name="target", addr=TARGET)) == errno.EINVAL
    assert refused(register, Kprobe(symbol_name="nothing")) == errno.ENOENT
    assert refused(register, Kprobe(addr=0x1000)) == errno.EINVAL
    assert refused(register, Kprobe(symbol_name="nokprobe")) == errno.EINVAL
    inside = errno.EILSEQ if kernel.arch == "x86_64" else errno.EINVAL
    assert refused(register, Kprobe(symbol_name="target", offset=1)) == inside
    kp = Kprobe(symbol_name="target")
    register(kp)
    assert refused(register, kp) == errno.EINVAL
    assert refused(kernel.kprobes.register_kretprobe, Kretprobe(symbol_name="target", offset=kernel.second)) == errno.EINVAL
    assert refused(kernel.kprobes.register_kretprobe, Kretprobe(symbol_name="target", data_size=4097)) == errno.E2BIG
    kernel.kprobes.unregister_kprobe(Kprobe(symbol_name="target"))
    assert len(kernel.kprobes.table) == 1


def test_between_an_exclusive_load_and_its_store(kernel):
    if kernel.arch != "arm64":
        return
    kernel.bench.space.write(CODE + 0x200, bytes.fromhex("207c5fc8" "1f2003d5" "217c02c8" "c0035fd6"))
    kernel.text.symbols["atomic"] = (CODE + 0x200, 16)
    results = [refused(kernel.kprobes.register_kprobe, Kprobe(symbol_name="atomic", offset=n)) for n in (0, 4, 8)]
    assert results == [errno.EINVAL] * 3
    kernel.kprobes.register_kprobe(Kprobe(symbol_name="atomic", offset=12))


def test_a_pre_handler_goes_elsewhere(kernel):
    """A value other than 0: the handler has set the instruction pointer, nothing is stepped, no post handler runs."""
    seen = []

    def skip(p, regs):
        setattr(regs, kernel.result, 100)
        setattr(regs, "ip" if kernel.arch == "x86_64" else "pc", TARGET + kernel.second)
        return 1

    kernel.kprobes.register_kprobe(Kprobe(symbol_name="target", pre_handler=skip, post_handler=lambda p, regs, flags: seen.append(1)))
    assert kernel.run() == 110
    assert seen == []


def test_kretprobe(kernel):
    """test_kretprobe: entry handler, data, return handler and value."""
    seen = []

    def entry(ri, regs):
        ri.data[:8] = regs_get_kernel_argument(regs, 0).to_bytes(8, "little")

    def handler(ri, regs):
        data = int.from_bytes(ri.data, "little")
        seen.append((ri.rp.kp.symbol_name, data, regs_return_value(regs), ri.ret_addr, instruction_pointer(regs)))

    rp = Kretprobe(symbol_name="target", handler=handler, entry_handler=entry, data_size=8)
    kernel.kprobes.register_kretprobe(rp)
    assert rp.maxactive == 10
    assert kernel.run() == 16
    assert [s[:3] for s in seen] == [("target", 5, 6)] * 3
    assert all(s[3] == s[4] for s in seen)
    assert kernel.symbols["main"][0] < seen[0][3] < TARGET and seen[1][3] > TARGET2
    assert rp.nmissed == 0 and rp.free == rp.maxactive
    kernel.kprobes.unregister_kretprobe(rp)
    assert kernel.run() == 16 and len(seen) == 3


def test_kretprobes(kernel):
    """test_kretprobes, test_nested_kretprobe: two functions, one calling the other."""
    seen = []
    rps = [
        Kretprobe(symbol_name=n, handler=lambda ri, regs: seen.append((ri.rp.kp.symbol_name, regs_return_value(regs))))
        for n in ("target", "target2")
    ]
    kernel.kprobes.register_kretprobes(rps)
    assert kernel.run() == 16
    assert seen == [("target", 6), ("target", 6), ("target2", 16), ("target", 6), ("target2", 16)]
    kernel.kprobes.unregister_kretprobes(rps)


def test_entry_handler_declines(kernel):
    seen = []
    rp = Kretprobe(symbol_name="target", handler=lambda ri, regs: seen.append(1), entry_handler=lambda ri, regs: 1)
    kernel.kprobes.register_kretprobe(rp)
    assert kernel.run() == 16
    assert seen == [] and rp.nmissed == 0 and rp.free == rp.maxactive


def test_maxactive(kernel):
    """A recursive function: as many returns as instances, the rest are counted."""
    code = {
        "x86_64": "85ff 7408 ffcf e8f5ffffff 90 8d4701 c3".replace(" ", ""),
        "arm64": "a000 0034 fd7bbfa9 00040051 fdffff97 fd7bc1a8 c0035fd6".replace(" ", ""),
    }[kernel.arch]
    kernel.bench.space.write(CODE + 0x200, bytes.fromhex(code))
    kernel.text.symbols["recursive"] = (CODE + 0x200, len(code) // 2)
    seen = []
    rp = Kretprobe(symbol_name="recursive", handler=lambda ri, regs: seen.append(1), maxactive=2)
    kernel.kprobes.register_kretprobe(rp)
    before = kernel.bench.space.read(CODE, 16)
    call = b"\xbf\x05\0\0\0\xe8" + (0x200 - 10).to_bytes(4, "little") + b"\xf4" if kernel.arch == "x86_64" else (
        bytes.fromhex("a0008052") + (0x94000000 | 0x1FC >> 2).to_bytes(4, "little") + bytes(4)
    )
    kernel.bench.space.write(CODE, call)
    kernel.run()
    assert len(seen) == 2 and rp.nmissed == 4 and rp.free == 2
    kernel.bench.space.write(CODE, before)


def test_stacktrace_on_kretprobe(kernel):
    """test_stacktrace_on_kretprobe: the callers are the real ones, inside the handler and inside a probed callee."""
    stacks = []

    def stack(p, regs):
        engine = kernel.bench.engine
        stacks.append(kernel.kprobes.real_stack(unwind(kernel.arch, engine.get, kernel.bench.space, 9, entry=True)))

    kp = Kprobe(symbol_name="target", pre_handler=stack)
    kernel.kprobes.register_kprobe(kp)
    kernel.run()
    plain, stacks[:] = list(stacks), []
    kernel.kprobes.register_kretprobe(Kretprobe(symbol_name="target2"))
    kernel.run()
    assert stacks == plain
    assert any(len(s) > 2 for s in stacks)


def faulting(kernel):
    """target's first instruction loads from where nothing is."""
    code = {"x86_64": "488b07 90c3", "arm64": "000040f9 1f2003d5 c0035fd6"}[kernel.arch]
    kernel.bench.space.write(TARGET, bytes.fromhex(code))


def test_fault_in_the_stepped_instruction(kernel):
    """To the fault handler first, which mends it here; else to the guest, at the original address."""
    faulting(kernel)
    seen = []

    def fault(p, regs, trapnr):
        seen.append((p.addr, trapnr, instruction_pointer(regs)))
        if len(seen) == 1:
            kernel.bench.space.map(0, 4096, R)
            return 1
        return 0

    kernel.kprobes.register_kprobe(Kprobe(symbol_name="target", fault_handler=fault))
    kernel.run()
    number = 14 if kernel.arch == "x86_64" else 0x96000006
    assert seen == [(TARGET, number, TARGET)] and kernel.stop.kind is StopKind.TRAP
    kernel.bench.space.unmap(0, 4096)
    kernel.run()
    assert len(seen) == 2
    assert (kernel.stop.kind, kernel.stop.address, kernel.bench.engine.get("pc")) == (StopKind.FAULT, 5, TARGET)


def test_fault_in_a_handler(kernel):
    seen = []
    kp = Kprobe(
        symbol_name="target",
        pre_handler=lambda p, regs: kernel.bench.space.read(0x10, 8) and 0,
        fault_handler=lambda p, regs, trapnr: seen.append(trapnr) or 1,
    )
    kernel.kprobes.register_kprobe(kp)
    assert kernel.run() == 16 and len(seen) == 3
    kp.fault_handler = None
    with pytest.raises(MemoryFault):
        kernel.run()


def test_listing(kernel):
    kernel.kprobes.register_kprobe(Kprobe(symbol_name="target", offset=kernel.second, flags=KPROBE_FLAG_DISABLED))
    kernel.kprobes.register_kretprobe(Kretprobe(symbol_name="target2"))
    assert kernel.kprobes.shown() == [
        f"{TARGET + kernel.second:016x}  k  target+{kernel.second:#x}    [DISABLED]",
        f"{TARGET2:016x}  r  target2+0x0",
    ]


def test_cost_of_a_hit_does_not_depend_on_the_number(kernel):
    """Ten thousand probes: the one that is hit is found by its address."""
    nops = {"x86_64": b"\x90", "arm64": bytes.fromhex("1f2003d5")}[kernel.arch]
    at = 0x10000000
    kernel.bench.space.map(at, 65536, 7)
    kernel.bench.space.write(at, nops * 10000)
    kernel.text.symbols["many"] = (at, len(nops) * 10000)
    seen = []
    kernel.text.function = lambda address: ("many", at, 65536) if address >= at else ("main", CODE, 0x100)
    kernel.text.check = lambda address: None  # decoding from the function's start would take the time
    for n in range(10000):
        kernel.kprobes.register_kprobe(Kprobe(addr=at + n * len(nops)))
    kernel.kprobes.register_kprobe(Kprobe(symbol_name="target", pre_handler=lambda p, regs: seen.append(1)))
    assert kernel.run() == 16 and len(seen) == 3
