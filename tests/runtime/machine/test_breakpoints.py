"""Breakpoints in machine code: memory, hits, slots, simulation, refusals; nothing but the breakpoint can be told from a run without."""

from __future__ import annotations

import errno

import pytest

from pyprobe.runtime.machine.arm64 import ARM64
from pyprobe.runtime.machine.breakpoints import AREA_NAME, Breakpoints
from pyprobe.runtime.machine.displaced import Refused
from pyprobe.runtime.machine.displaced_arm64 import inside_exclusive
from pyprobe.runtime.machine.engine import StopKind
from pyprobe.runtime.machine.memory import R, X
from pyprobe.runtime.machine.x86_64 import X86_64
from tests.runtime.machine.conftest import CODE, DATA, Bench
from tests.runtime.machine.windows import Windows, differences

LOOP = {"x86_64": ("b905000000 ffc0 ffc9 75fa f4", 5, "rax"), "arm64": ("a1008052 00040091 21040071 c1ffff54 00000000", 4, "x0")}


@pytest.fixture(params=[X86_64, ARM64], ids=["x86_64", "arm64"])
def bench(request, native):
    made = Bench(request.param, native)
    yield made
    made.engine.close()


def plant(bench, call, offset=None, **options):
    code, inside, register = LOOP[bench.arch.name]
    bench.load(code)
    bench.engine.set(register, 0)
    points = Breakpoints(bench.engine, bench.space)
    points.insert(CODE + (inside if offset is None else offset), call, **options)
    return points


def test_bytes_are_replaced_and_restored(bench):
    points = plant(bench, lambda: None)
    inside = LOOP[bench.arch.name][1]
    original = bytes.fromhex(LOOP[bench.arch.name][0])
    expected = b"\xcc" if bench.arch.name == "x86_64" else (0xD42000A0).to_bytes(4, "little")
    assert bench.space.read(CODE + inside, len(expected)) == expected
    assert points.read(CODE, len(original)) == original
    assert [vma.prot for vma in bench.space.vmas() if vma.name == AREA_NAME] == [R | X]
    points.remove(CODE + inside)
    assert bench.space.read(CODE, len(original)) == original


def test_every_hit_is_told_before_the_instruction(bench):
    seen = []
    register = LOOP[bench.arch.name][2]
    plant(bench, lambda: seen.append((bench.engine.state.pc, bench.engine.get(register))))
    bench.run()
    assert seen == [(CODE + LOOP[bench.arch.name][1], n) for n in range(5)]
    assert bench.engine.get(register) == 5


def test_after_the_instruction(bench):
    seen = []
    _, inside, register = LOOP[bench.arch.name]
    plant(bench, lambda: seen.append("pre"), post=lambda: seen.append((bench.engine.state.pc, bench.engine.get(register))))
    bench.run()
    after = CODE + inside + (2 if bench.arch.name == "x86_64" else 4)
    assert seen == [event for n in range(5) for event in ("pre", (after, n + 1))]


def test_removed_within_a_hit(bench):
    seen = []
    inside = CODE + LOOP[bench.arch.name][1]
    points = plant(bench, lambda: (seen.append(1), points.remove(inside)))
    bench.run()
    assert seen == [1]
    assert bench.engine.get(LOOP[bench.arch.name][2]) == 5


def test_stopping_at_a_hit_does_not_repeat_it(bench):
    seen = []
    inside = CODE + LOOP[bench.arch.name][1]
    plant(bench, lambda: (seen.append(1), bench.engine.request_stop()))
    kinds = []
    for _ in range(6):
        kinds.append(bench.run().kind)
        if kinds[-1] is StopKind.STOPPED:
            assert bench.engine.get("pc") == inside
    assert kinds[:5] == [StopKind.STOPPED] * 5
    assert kinds[5] is not StopKind.STOPPED
    assert len(seen) == 5


def test_an_exception_in_a_handler_does_not_lose_the_instruction(bench):
    def fail():
        raise ValueError("mine")

    plant(bench, fail)
    for _ in range(5):
        with pytest.raises(ValueError, match="mine"):
            bench.run()
    bench.run()
    assert bench.engine.get(LOOP[bench.arch.name][2]) == 5


def test_a_fault_is_at_the_original_address(bench):
    code = {"x86_64": "488b0425 00000010 f4", "arm64": "200040f9 00000000"}[bench.arch.name]
    bench.load(code)
    if bench.arch.name == "arm64":
        bench.engine.set("x1", 0x10000000)
    Breakpoints(bench.engine, bench.space).insert(CODE, lambda: None)
    stop = bench.run()
    assert (stop.kind, stop.address, bench.engine.get("pc")) == (StopKind.FAULT, 0x10000000, CODE)


def test_the_guest_s_own_breakpoint_stays_its_own(bench):
    bench.load({"x86_64": "90cc", "arm64": "1f2003d5 000020d4"}[bench.arch.name])
    Breakpoints(bench.engine, bench.space).insert(CODE, lambda: None)
    stop = bench.run()
    assert (stop.kind, stop.number) == (StopKind.TRAP, bench.arch.breakpoint.number)


def test_a_forked_space_has_copies(bench):
    seen = []
    inside = CODE + LOOP[bench.arch.name][1]
    points = plant(bench, lambda: seen.append(1))
    child = bench.space.fork()
    points.remove(inside)
    bench.engine.activate(child)
    bench.run()
    assert len(seen) == 5


def test_a_time_a_hit_costs_is_seen_by_the_guest(bench):
    plain, probed = [], []
    for call, into in ((None, plain), (lambda: None, probed)):
        bench.load(LOOP[bench.arch.name][0])
        if call:
            plant(bench, call)
        before = bench.clock.now()
        bench.run()
        into.append(bench.clock.now() - before)
    assert probed[0] == plain[0] + 5 * 1000


@pytest.mark.parametrize(
    ("code", "number"),
    [("06", errno.EILSEQ), *((code, errno.EINVAL) for code in ("cc", "cd80", "48cf", "c7f800000000", "67488b0500000000"))],
)
def test_refused_on_x86(x86, code, number):
    x86.load(code + "90" * 16)
    with pytest.raises(Refused) as refused:
        Breakpoints(x86.engine, x86.space).insert(CODE, lambda: None)
    assert refused.value.errno == number


@pytest.mark.parametrize("code", ["000020d4", "20fc5fc8", "21fc02c8", "e0039fd6", "20093fd7", "0000001c"])
def test_refused_on_arm64(arm, code):
    """BRK, LDAXR, STLXR, ERET-like, BLRAA, LDR S0 of a literal."""
    arm.load(code + "1f2003d5")
    with pytest.raises(Refused) as refused:
        Breakpoints(arm.engine, arm.space).insert(CODE, lambda: None)
    assert refused.value.errno == errno.EINVAL


def test_inside_an_exclusive_pair():
    ldxr, stxr, nop = (bytes.fromhex(h) for h in ("207c5fc8", "217c02c8", "1f2003d5"))
    assert inside_exclusive(ldxr)
    assert inside_exclusive(ldxr + nop * 31)
    assert not inside_exclusive(ldxr + nop * 32)
    assert not inside_exclusive(ldxr + stxr)
    assert not inside_exclusive(b"")


def test_two_breakpoints_at_one_address_are_refused(bench):
    points = plant(bench, lambda: None)
    with pytest.raises(Refused) as refused:
        points.insert(CODE + LOOP[bench.arch.name][1], lambda: None)
    assert refused.value.errno == errno.EBUSY


def test_neighbours_and_every_instruction_of_a_loop(bench):
    _, inside, register = LOOP[bench.arch.name]
    seen = []
    points = plant(bench, lambda: seen.append(0))
    step = 2 if bench.arch.name == "x86_64" else 4
    for n in (1, 2):
        points.insert(CODE + inside + n * step, lambda n=n: seen.append(n))
    bench.run()
    assert seen == [0, 1, 2] * 5
    assert bench.engine.get(register) == 5


def test_a_syscall_under_a_breakpoint(bench):
    bench.load({"x86_64": "0f05 4889c3 f4", "arm64": "010000d4 e30300aa 00000000"}[bench.arch.name])
    pcs = []

    def syscall():
        pcs.append(bench.engine.get("pc"))
        bench.engine.set_result(42)
        return True

    bench.engine.on_syscall = syscall
    Breakpoints(bench.engine, bench.space).insert(CODE, lambda: None)
    bench.run()
    assert pcs == [CODE + (2 if bench.arch.name == "x86_64" else 4)]
    assert bench.engine.get({"x86_64": "rbx", "arm64": "x3"}[bench.arch.name]) == 42
    if bench.arch.name == "x86_64":
        assert bench.engine.get("rcx") == CODE + 2


def test_a_string_instruction_is_hit_once(x86):
    x86.load("b920000000 be00006000 bf00106000 f3a4 f4")
    x86.space.write(DATA, bytes(range(32)))
    seen = []
    Breakpoints(x86.engine, x86.space).insert(CODE + 15, lambda: seen.append(1))
    x86.run()
    assert seen == [1]
    assert x86.space.read(DATA + 0x1000, 32) == bytes(range(32))


@pytest.mark.parametrize("arch", [X86_64, ARM64], ids=["x86_64", "arm64"])
def test_random_windows(arch, native):
    assert list(differences(Windows(arch, native=native), 150, 1_000_000)) == []
