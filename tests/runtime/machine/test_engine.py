"""The engine's promises: time, stops, probes, faults. Every test runs with the callbacks in C and in Python."""

from __future__ import annotations

import signal
import time

import pytest

from pyprobe.runtime.machine.arch import Arch
from pyprobe.runtime.machine.arm64 import ARM64
from pyprobe.runtime.machine.engine import Engine, Stop, StopKind
from pyprobe.runtime.machine.memory import AddressSpace, R, W, X
from pyprobe.runtime.machine.x86_64 import X86_64
from tests.runtime.machine.conftest import CODE, DATA, Bench

SYSCALL = Stop(StopKind.SYSCALL)

# mov ecx, 100; loop: dec ecx; jnz loop; syscall
LOOP = "b964000000" "ffc9" "75fc" "0f05"
LOOP_BODY = CODE + 5
LOOP_BYTES = 5 + 4 * 100 + 2


def test_syscall_stops_behind_the_instruction(x86: Bench) -> None:
    x86.load("48c7c705000000" "b83c000000" "0f05" "90")  # mov rdi, 5; mov eax, 60; syscall; nop
    assert x86.run() == SYSCALL
    assert x86.engine.syscall_arguments()[:2] == (60, 5)
    assert x86.engine.get("pc") == CODE + 14
    assert x86.clock.now() == 14


def test_syscall_goes_on_when_the_handler_says_so(x86: Bench) -> None:
    seen = []

    def on_syscall() -> bool:
        number = x86.engine.syscall_arguments()[0]
        seen.append((number, x86.engine.get("pc")))
        x86.engine.set_result(number + 1)
        return number != 3

    x86.engine.on_syscall = on_syscall
    x86.load("b801000000" "0f05" "0f05" "0f05" "90")  # mov eax, 1; three syscalls
    assert x86.run() == SYSCALL
    assert seen == [(1, CODE + 7), (2, CODE + 9), (3, CODE + 11)]
    assert x86.engine.get("ax") == 4


def test_first_probe_and_last_one_come_and_go_while_the_guest_runs(x86: Bench) -> None:
    hits: list[int] = []

    def probe() -> None:
        hits.append(x86.engine.get("cx"))
        if len(hits) == 3:
            x86.engine.pull(x86.space, LOOP_BODY)
            x86.clock.add(x86.clock.now() + 40, lambda: x86.engine.plant(x86.space, LOOP_BODY, probe))

    x86.clock.add(x86.clock.now() + 205, lambda: x86.engine.plant(x86.space, LOOP_BODY, probe))
    x86.load(LOOP)
    assert x86.run() == SYSCALL
    assert hits == [50, 49, 48, *range(38, 0, -1)]
    assert x86.clock.now() == LOOP_BYTES


def test_clock_counts_bytes_of_executed_code(x86: Bench) -> None:
    x86.load(LOOP)
    assert x86.run() == SYSCALL
    assert x86.clock.now() == LOOP_BYTES


def test_probes_fire_once_and_do_not_change_the_clock(x86: Bench) -> None:
    hits: list[tuple[int, int]] = []
    for exact in (False, True):
        x86.engine.plant(x86.space, LOOP_BODY, lambda: hits.append((x86.engine.get("cx"), x86.engine.get("pc"))), exact=exact)
        before = x86.clock.now()
        hits.clear()
        x86.load(LOOP)
        assert x86.run() == SYSCALL
        # the first time around the loop is entered by falling into it, where no block begins
        assert hits == [(n, LOOP_BODY) for n in range(100 if exact else 99, 0, -1)]
        assert x86.clock.now() - before == LOOP_BYTES
        x86.engine.pull(x86.space, LOOP_BODY)
    hits.clear()
    x86.load(LOOP)
    x86.run()
    assert not hits


def test_late_exact_point_on_translated_code(x86: Bench) -> None:
    x86.load(LOOP)
    x86.run()
    hits: list[int] = []
    x86.engine.plant(x86.space, CODE, lambda: hits.append(0), exact=True)
    x86.engine.plant(x86.space, LOOP_BODY + 2, lambda: hits.append(1), exact=True)
    x86.engine.set("pc", CODE)
    x86.run()
    assert hits == [0] + [1] * 100


@pytest.mark.parametrize("exact", [False, True])
def test_error_in_a_probe_stops_before_the_instruction(x86: Bench, exact: bool) -> None:
    calls: list[int] = []

    def probe() -> None:
        calls.append(x86.engine.get("cx"))
        if calls[-1] == 50:
            raise ZeroDivisionError

    x86.engine.plant(x86.space, LOOP_BODY, probe, exact=exact)
    x86.load(LOOP)
    with pytest.raises(ZeroDivisionError):
        x86.run()
    assert x86.engine.get("pc") == LOOP_BODY
    assert x86.engine.get("cx") == 50
    assert x86.clock.now() == 5 + 4 * 50
    assert x86.run() == SYSCALL
    assert calls == list(range(100 if exact else 99, 0, -1))  # not fired again
    assert x86.clock.now() == LOOP_BYTES


def test_stop_requested_by_a_probe(x86: Bench) -> None:
    hits: list[int] = []

    def probe() -> None:
        hits.append(1)
        x86.engine.request_stop()

    x86.engine.plant(x86.space, LOOP_BODY, probe)
    x86.load(LOOP)
    stops: list[Stop] = []
    while not stops or stops[-1].kind is StopKind.STOPPED:
        stops.append(x86.run())
    assert stops == [Stop(StopKind.STOPPED)] * 99 + [SYSCALL]
    assert len(hits) == 99
    assert x86.clock.now() == LOOP_BYTES


def test_a_stop_at_a_probe_belongs_to_its_task(x86: Bench) -> None:
    """Another task that comes to the same address meanwhile fires the probe."""
    hits: list[int] = []

    def probe() -> None:
        hits.append(x86.engine.get("cx"))
        x86.engine.request_stop()

    x86.engine.plant(x86.space, LOOP_BODY, probe)
    x86.load(LOOP)
    assert x86.run().kind is StopKind.STOPPED
    first, second = x86.engine.new_context(), x86.engine.new_context()
    x86.engine.save(first)
    x86.engine.context_set(second, "pc", LOOP_BODY)
    x86.engine.context_set(second, "cx", 7)
    x86.engine.restore(second)
    assert x86.run().kind is StopKind.STOPPED
    x86.engine.restore(first)
    assert x86.run().kind is StopKind.STOPPED
    assert hits == [99, 7, 98]


@pytest.mark.parametrize("when", range(0, 60, 3))
def test_deadlines_are_exact(x86: Bench, when: int) -> None:
    """A timer runs at the first block that begins at its time or later, and a probe there fires once."""
    hits: list[int] = []
    seen: list[tuple[int, int, int]] = []
    x86.engine.plant(x86.space, LOOP_BODY, lambda: hits.append(x86.engine.get("cx")))

    def timer() -> None:
        seen.append((x86.clock.now(), x86.engine.get("pc"), len(hits)))
        x86.engine.request_stop()

    x86.load(LOOP)
    x86.clock.add(when, timer)
    assert x86.run() == Stop(StopKind.STOPPED)
    time = 0 if when == 0 else max(9, 9 + (when - 9 + 3) // 4 * 4)
    assert seen == [(time, CODE if when == 0 else LOOP_BODY, max(0, (time - 9) // 4))]
    assert x86.run() == SYSCALL
    assert hits == list(range(99, 0, -1))
    assert x86.clock.now() == LOOP_BYTES


def test_timers_run_in_order_without_stopping(x86: Bench) -> None:
    order: list[str] = []
    x86.clock.add(200, lambda: order.append("b"))
    x86.clock.add(100, lambda: order.append("a"))
    x86.clock.add(200, lambda: order.append("c"))
    x86.clock.cancel(x86.clock.add(150, lambda: order.append("never")))
    x86.load(LOOP)
    assert x86.run() == SYSCALL
    assert order == ["a", "b", "c"]


def test_error_in_a_timer_and_keyboard_interrupt(x86: Bench) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    x86.clock.add(100, interrupt)
    x86.load(LOOP)
    with pytest.raises(KeyboardInterrupt):
        x86.run()
    assert x86.run() == SYSCALL
    assert x86.clock.now() == LOOP_BYTES


def test_error_in_a_syscall(x86: Bench) -> None:
    def on_syscall() -> bool:
        raise ZeroDivisionError

    x86.engine.on_syscall = on_syscall
    x86.load(LOOP)
    with pytest.raises(ZeroDivisionError):
        x86.run()
    assert x86.engine.get("pc") == CODE + LOOP.__len__() // 2


def test_syscall_shows_its_traces(x86: Bench) -> None:
    x86.engine.on_syscall = lambda: True
    x86.load("31c0" "0f05" "90" "f4")  # xor eax, eax; syscall; nop; hlt
    x86.run()
    assert x86.engine.get("cx") == CODE + 4
    assert x86.engine.get("r11") & 0x8D5 == 0x44


def test_control_c_ends_an_endless_loop(x86: Bench) -> None:
    def interrupted(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupted)
    try:
        x86.load("ebfe")  # jmp to itself
        for _ in range(20):
            start = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 0.01, 1)  # again after a second, should one be lost to a finalizer
                x86.run()
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert time.monotonic() - start < 10
            assert x86.engine.get("pc") == CODE
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def test_fault_in_the_middle_of_a_block(x86: Bench) -> None:
    # nop x3; mov [DATA + 0x2000], rdi; nop; syscall
    x86.load("909090" "48893c2500206000" "90" "0f05")
    x86.engine.set("di", 42)
    assert x86.run() == Stop(StopKind.FAULT, address=DATA + 0x2000, access=W)
    assert x86.engine.get("pc") == CODE + 3
    assert x86.clock.now() == 3
    x86.space.map(DATA + 0x2000, 4096, R | W)
    assert x86.run() == SYSCALL
    assert x86.space.u64(DATA + 0x2000) == 42
    assert x86.clock.now() == 14


def test_fault_address_is_exact(x86: Bench) -> None:
    x86.load("488b07")  # mov rax, [rdi]
    for address in (0x1234_5678, DATA + 0x1FFD, 0xFFFF_8000_0000_0123):
        x86.engine.set("pc", CODE)
        x86.engine.set("di", address)
        # an access that crosses into a missing page faults at that page
        assert x86.run() == Stop(StopKind.FAULT, address=DATA + 0x2000 if address == DATA + 0x1FFD else address, access=R)


def test_faults_by_protection(x86: Bench) -> None:
    x86.space.map(DATA + 0x4000, 4096, R)
    x86.load("488b042500406000" "48890c2500406000")  # mov rax, [DATA + 0x4000]; mov [...], rcx
    assert x86.run() == Stop(StopKind.FAULT, address=DATA + 0x4000, access=W)
    x86.load("ff242500006000")  # jmp [DATA]
    x86.space.put_u64(DATA, DATA)
    assert x86.run() == Stop(StopKind.FAULT, address=DATA, access=X)
    assert x86.engine.get("pc") == DATA
    x86.space.protect(DATA, 4096, 0)
    x86.engine.activate(x86.space)
    x86.load("ff242500006000")
    assert x86.run() == Stop(StopKind.FAULT, address=DATA, access=R)


@pytest.mark.parametrize(
    ("code", "number", "length"),
    [
        ("cc", 3, 1),  # int3: a trap, behind the instruction
        ("31d2f7f2", 0, 2),  # div edx by zero
        ("0f0b", 6, 0),  # ud2
        ("f4", 13, 0),  # hlt
        ("fa", 13, 0),  # cli
        ("0f20c0", 13, 0),  # mov rax, cr0
        ("cd80", 0x80, 2),  # int 0x80
    ],
)
def test_traps(x86: Bench, code: str, number: int, length: int) -> None:
    x86.load("90" + code)
    assert x86.run() == Stop(StopKind.TRAP, number=number)
    assert x86.engine.get("pc") == CODE + 1 + length
    assert x86.clock.now() == 1 + length
    x86.engine.set("pc", CODE)
    assert x86.run() == Stop(StopKind.TRAP, number=number)  # and not a double fault


def test_self_modifying_code(x86: Bench) -> None:
    # mov byte [CODE + 9], 5; jmp +0; mov eax, 1 -> the immediate is overwritten: eax = 5
    x86.load("c604250b00400005" "eb00" "b801000000" "0f05")
    for _ in range(2):
        x86.engine.set("pc", CODE)
        assert x86.run() == SYSCALL
        assert x86.engine.get("ax") == 5
        x86.space.write(CODE + 11, b"\x01")  # by the host, into translated code
    x86.engine.set("pc", CODE + 10)
    assert x86.run() == SYSCALL
    assert x86.engine.get("ax") == 1


def test_code_written_through_another_mapping(x86: Bench) -> None:
    shared = x86.memory.anonymous(4096)
    x86.space.map(0x700000, 4096, R | W, shared=True, backing=shared)
    x86.space.map(0x800000, 4096, R | X, shared=True, backing=shared)
    x86.space.write(0x700000, bytes.fromhex("b801000000c3"))  # mov eax, 1; ret
    # loop three times: mov byte [0x700001], cl; mov ebx, 0x800000; call rbx; add edx, eax; dec ecx; jnz; syscall
    x86.load("b903000000" "31d2" "880c2501007000" "bb00008000" "ffd3" "01c2" "ffc9" "75ec" "0f05")
    x86.engine.set("sp", DATA + 0x1000)
    assert x86.run() == SYSCALL
    assert x86.engine.get("dx") == 6


def test_code_generated_between_changes_of_protection(x86: Bench) -> None:
    """A just-in-time compiler that never has a page writable and executable at once."""
    page = 0x700000
    x86.space.map(page, 4096, R | W)
    x86.space.write(page, bytes.fromhex("b801000000c3"))  # mov eax, 1; ret
    protections = [R | X, R | W] * 3
    x86.engine.on_syscall = lambda: x86.space.protect(page, 4096, protections.pop(0)) is None
    # loop three times: mov [page + 1], sil; syscall; mov ebx, page; call rbx; add edx, eax; syscall; dec esi; jnz; int3
    x86.load("be03000000" "31d2" "4088342501007000" "0f05" "bb00007000" "ffd3" "01c2" "0f05" "ffce" "75e7" "cc")
    x86.engine.set("sp", DATA + 0x1000)
    assert x86.run() == Stop(StopKind.TRAP, number=3)
    assert x86.engine.get("dx") == 6


def test_frames_of_code_are_reused(x86: Bench) -> None:
    """The same frame at the same address with other code in it."""
    for value in range(1, 50):
        x86.space.map(0x700000, 4096, R | W | X)
        x86.space.write(0x700000, bytes([0xB8, value, 0, 0, 0, 0x0F, 0x05]))  # mov eax, value; syscall
        x86.engine.activate(x86.space)
        x86.engine.set("pc", 0x700000)
        assert x86.run() == SYSCALL
        assert x86.engine.get("ax") == value
        x86.space.unmap(0x700000, 4096)


def test_two_processors_share_memory_and_time(native: bool) -> None:
    bench = Bench(X86_64, native)
    arm = Engine(ARM64, bench.memory, bench.clock, native=native)
    space = AddressSpace(bench.memory)
    space.map(CODE, 4096, R | W | X)
    space.write(CODE, bytes.fromhex("a80b80d2" "010000d4"))  # mov x8, #93; svc #0
    arm.activate(space)
    arm.set("pc", CODE)
    bench.load("b83c000000" "0f05")
    assert arm.run() == bench.run() == SYSCALL
    assert (arm.get("x8"), bench.engine.get("ax"), bench.clock.now()) == (93, 60, 15)
    arm.close()
    bench.engine.close()


def test_fork_isolates(x86: Bench) -> None:
    x86.space.put_u64(DATA, 1)
    child = x86.space.fork()
    store = "48893c2500006000" "0f05"  # mov [DATA], rdi; syscall
    x86.load(store)
    for value, space in ((2, x86.space), (3, child), (4, x86.space)):
        x86.engine.activate(space)
        x86.engine.set("pc", CODE)
        x86.engine.set("di", value)
        assert x86.run() == SYSCALL if space is x86.space else True
        assert space.u64(DATA) == (value if space is x86.space else space.u64(DATA))
    child2 = x86.space.fork()
    x86.engine.activate(child2)
    x86.engine.set("pc", CODE)
    x86.engine.set("di", 9)
    assert x86.run() == SYSCALL
    assert (child2.u64(DATA), x86.space.u64(DATA)) == (9, 4)
    used = x86.memory.used
    child2.destroy()
    assert x86.memory.used < used


def test_points_follow_fork_and_can_differ(x86: Bench) -> None:
    hits: list[str] = []
    x86.load(LOOP)
    x86.engine.plant(x86.space, LOOP_BODY, lambda: hits.append("both"))
    x86.engine.plant(x86.space, LOOP_BODY + 2, lambda: hits.append("exact"), exact=True)
    child = x86.space.fork()
    x86.engine.pull(x86.space, LOOP_BODY)
    x86.engine.plant(child, CODE, lambda: hits.append("child"))
    x86.run()
    assert hits == ["exact"] * 100
    hits.clear()
    x86.engine.activate(child)
    x86.engine.set("pc", CODE)
    x86.run()
    assert hits == ["child"] + ["exact", "both"] * 99 + ["exact"]
    grandchild = child.fork()
    x86.engine.activate(grandchild)
    x86.engine.pull(grandchild, CODE)  # while it is active and shares its table
    hits.clear()
    x86.engine.set("pc", CODE)
    x86.run()
    assert hits == ["exact", "both"] * 99 + ["exact"]
    hits.clear()
    x86.engine.activate(child)
    x86.engine.set("pc", CODE)
    x86.run()
    assert hits == ["child"] + ["exact", "both"] * 99 + ["exact"]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("jump", ["eb00", "9090"])
def test_repeated_instruction_fires_once(x86: Bench, exact: bool, jump: str) -> None:
    hits: list[int] = []
    x86.engine.set("di", DATA)
    # twice: mov ecx, 5; jump or fall into rep stosb; dec ebx; jnz; int3
    x86.load("b905000000" + jump + "f3aa" "ffcb" "75f3" "cc")
    x86.engine.plant(x86.space, CODE + 7, lambda: hits.append(x86.engine.get("cx")), exact=exact)
    x86.engine.set("bx", 2)
    assert x86.run() == Stop(StopKind.TRAP, number=3)
    assert hits == ([5, 5] if exact or jump == "eb00" else [])


@pytest.mark.parametrize("quantum", [3, 10, 17, 64, 1000])
def test_two_tasks_taking_turns(x86: Bench, quantum: int) -> None:
    """However time is sliced, each probe fires as often and the clock shows the same at the end."""
    engine, clock = x86.engine, x86.clock
    hits: dict[str, int] = {}
    # mov ecx, 100; loop: inc qword [DATA]; dec ecx; jnz loop; syscall
    x86.load("b964000000" "48ff042500006000" "ffc9" "75f4" "0f05")
    tasks = []
    for name in ("a", "b"):
        space = x86.space.fork()
        for address, exact in ((CODE + 5, False), (CODE + 13, True), (CODE, False)):
            engine.plant(space, address, lambda key=f"{name}{address - CODE}": hits.update({key: hits.get(key, 0) + 1}), exact=exact)  # type: ignore[misc]  # key is bound here
        context = engine.new_context()
        engine.context_set(context, "pc", CODE)
        tasks.append((space, context))
    running = list(tasks)
    while running:
        space, context = running.pop(0)
        engine.activate(space)
        engine.restore(context)
        timer = clock.add(clock.now() + quantum, engine.request_stop)
        stop = engine.run()
        clock.cancel(timer)
        engine.save(context)
        if stop.kind is StopKind.STOPPED:
            running.append((space, context))
    assert hits == {f"{name}{offset}": count for name in "ab" for offset, count in ((0, 1), (5, 99), (13, 100))}
    assert clock.now() == 2 * (5 + 100 * 12 + 2)
    assert [space.u64(DATA) for space, _ in tasks] == [100, 100]
    assert x86.space.u64(DATA) == 0


def test_probe_may_pull_itself_and_plant_others(x86: Bench) -> None:
    hits: list[str] = []

    def first() -> None:
        hits.append("first")
        x86.engine.pull(x86.space, LOOP_BODY)
        x86.engine.plant(x86.space, LOOP_BODY + 4, second)  # syscall, entered by falling out of the loop: a new block

    def second() -> None:
        hits.append("second")

    x86.engine.plant(x86.space, LOOP_BODY, first)
    x86.load(LOOP)
    assert x86.run() == SYSCALL
    assert hits == ["first", "second"]


def test_table_of_many_points(x86: Bench) -> None:
    hits: list[int] = []
    engine, space = x86.engine, x86.space
    for i in range(5000):
        engine.plant(space, 0x10000 + 16 * i, lambda: hits.append(-1))
    engine.plant(space, LOOP_BODY, lambda: hits.append(1))
    for i in range(0, 5000, 2):
        engine.pull(space, 0x10000 + 16 * i)
    x86.load(LOOP)
    assert x86.run() == SYSCALL
    assert hits == [1] * 99


def test_points_that_a_filter_takes_for_one(x86: Bench) -> None:
    """Addresses that differ in the same way in two places have one bit in front of the table; it goes with the last of them."""
    hits: list[int] = []
    engine, space = x86.engine, x86.space
    others = [LOOP_BODY ^ (k << 16 | k) for k in range(1, 60)]
    for address in (*others[:30], LOOP_BODY, *others[30:]):
        engine.plant(space, address, lambda: hits.append(1))
    for left in (others[::2], others[1::2]):
        for address in left:
            engine.pull(space, address)
        x86.load(LOOP)
        assert x86.run() == SYSCALL
        assert hits == [1] * 99
        hits.clear()
    engine.pull(space, LOOP_BODY)
    engine.plant(space, others[0], lambda: hits.append(2))
    x86.load(LOOP)
    assert x86.run() == SYSCALL
    assert not hits


def test_long_straight_code_counts_and_fires(x86: Bench) -> None:
    """More than one block's worth of instructions without a jump."""
    n = 8000
    hits: list[int] = []
    x86.load("90" * n + "0f05")
    x86.engine.plant(x86.space, CODE + n // 2 + 1, lambda: hits.append(x86.engine.get("pc")), exact=True)
    assert x86.run() == SYSCALL
    assert x86.clock.now() == n + 2
    assert hits == [CODE + n // 2 + 1]


@pytest.mark.parametrize("arch", [X86_64, ARM64], ids=lambda arch: arch.name)
def test_registers_through_the_cpu_state_and_the_api(arch: Arch, native: bool) -> None:
    bench = Bench(arch, native)
    engine = bench.engine
    assert engine.cpu_state_found
    for i, name in enumerate(sorted(bench.arch.state)):
        engine.set(name, 0x1234_5678_9ABC_0000 + i)
        assert engine.get(name) == engine.get_by_api(name) == 0x1234_5678_9ABC_0000 + i
        assert engine.register(name).read() == engine.get(name)
    slow = Engine(bench.arch, bench.memory, bench.clock, native=bench.native, cpu_state=False)
    assert not slow.cpu_state_found
    for i, name in enumerate(sorted(bench.arch.state)):
        slow.set(name, 77 + i)
        assert slow.get(name) == 77 + i == slow.register(name).read()
    slow.close()
    engine.set("pc", CODE)
    assert engine.register("pc").read() == CODE
    with pytest.raises(KeyError):
        engine.register("no such")


def test_flags(x86: Bench) -> None:
    x86.load("31c0" "eb00" "0f05")  # xor eax, eax sets ZF and PF
    seen: list[object] = []
    flags = x86.engine.register("flags")
    x86.engine.plant(x86.space, CODE + 4, lambda: seen.append(flags.read()))
    x86.run()
    assert isinstance(seen[0], int) and seen[0] & 0x44 == 0x44


def test_translation_buffer_grows(x86: Bench) -> None:
    """Touching many pages over and over gets cheap once the buffer had its chances to grow."""
    pages = 3000
    x86.space.map(0x10000000, pages * 4096, R | W)
    # outer: mov rdi, 0x10000000; mov ecx, pages; inner: inc qword [rdi]; add rdi, 4096; dec ecx; jnz inner; dec ebx; jnz outer; syscall
    code = "bf00000010" "b9b80b0000" "48ff07" "4881c700100000" "ffc9" "75f2" "ffcb" "75e4" "0f05"
    fills = []
    for rounds in (1, 3, 1, 1):
        x86.load(code)
        x86.engine.set("bx", rounds)
        before = x86.engine.misses
        assert x86.run() == SYSCALL
        fills.append(x86.engine.misses - before)
    assert x86.space.u64(0x10000000 + 2999 * 4096) == 6
    assert fills[0] >= pages
    assert fills[-1] < 100


def test_time_stamp_counter_is_the_clock(x86: Bench) -> None:
    x86.load("90" * 100 + "0f31" "0f05")  # rdtsc
    for _ in range(2):
        before = x86.clock.now()
        x86.engine.set("pc", CODE)
        assert x86.run() == SYSCALL
        assert before <= x86.engine.get("ax") <= x86.clock.now()
    x86.load("0f01f9" "cc")  # rdtscp
    assert x86.run() == Stop(StopKind.TRAP, number=3)
    assert x86.engine.get("ax") <= x86.clock.now() and x86.engine.get("cx") == 0


def test_cpuid_offers_only_what_runs(x86: Bench) -> None:
    def cpuid(leaf: int) -> tuple[int, int, int, int]:
        x86.engine.set("ax", leaf)
        x86.engine.set("cx", 0)
        x86.load("0fa2" "cc")
        assert x86.run() == Stop(StopKind.TRAP, number=3)
        eax, ebx, ecx, edx = (x86.engine.get(name) for name in ("ax", "bx", "cx", "dx"))
        return eax, ebx, ecx, edx

    _, vendor_b, vendor_c, vendor_d = cpuid(0)
    assert b"".join(word.to_bytes(4, "little") for word in (vendor_b, vendor_d, vendor_c)) == b"GenuineIntel"
    ecx = cpuid(1)[2]
    assert not ecx & (1 << 30 | 1 << 28 | 1 << 12)  # RDRAND, AVX, FMA
    assert ecx & (1 << 20 | 1 << 23) == 1 << 20 | 1 << 23  # SSE4.2, POPCNT
    ebx = cpuid(7)[1]
    assert not ebx & (1 << 18 | 1 << 11 | 1 << 4 | 1 << 5)  # RDSEED, RTM, HLE, AVX2


def test_rdrand_does_not_reach_the_host(x86: Bench) -> None:
    x86.load("480fc7f0" "0f05")
    assert x86.run() == Stop(StopKind.TRAP, number=6)


def test_out_of_memory_is_raised_and_the_run_can_go_on(x86: Bench) -> None:
    from pyprobe.runtime.machine.memory import OutOfMemory

    x86.space.map(0x10000000, 1 << 30, R | W)
    # mov rdi, 0x10000000; loop: mov [rdi], rdi; add rdi, 4096; jmp loop
    x86.load("bf00000010" "48893f" "4881c700100000" "ebf4")
    with pytest.raises(OutOfMemory):
        x86.run()
    x86.space.unmap(0x10000000, 1 << 30)
    assert x86.run().kind is StopKind.FAULT


def test_stack_grows_down(x86: Bench) -> None:
    top = 0x7FFF_0000_0000
    x86.space.map(top - 4096, 4096, R | W, grows_down=True, name=b"[stack]")
    x86.load("50" "ebfd")  # loop: push rax; jmp loop
    x86.engine.set("sp", top)
    stop = x86.run()
    assert stop.kind is StopKind.FAULT and stop.access == W
    assert stop.address == top - (8 << 20) - 8


def test_arm64_runs(arm: Bench) -> None:
    hits: list[int] = []
    # mov x8, #93; mov x0, #3; loop: subs x0, x0, #1; b.ne loop; svc #0
    arm.load("a80b80d2" "600080d2" "000400f1" "e1ffff54" "010000d4")
    arm.engine.plant(arm.space, CODE + 8, lambda: hits.append(arm.engine.get("x0")))
    arm.engine.plant(arm.space, CODE + 12, lambda: hits.append(arm.engine.get("pc")), exact=True)
    assert arm.run() == SYSCALL
    assert arm.engine.syscall_arguments()[:2] == (93, 0)
    assert hits == [CODE + 12, 2, CODE + 12, 1, CODE + 12]
    assert arm.engine.get("pc") == CODE + 20
    assert arm.clock.now() == 4 * (2 + 3 * 2 + 1)


def test_arm64_faults_and_traps(arm: Bench) -> None:
    arm.load("1f2003d5" "200080f9" "200000f9")  # nop; prfm; str x0, [x1]
    arm.engine.set("x1", DATA + 0x2000)
    assert arm.run() == Stop(StopKind.FAULT, address=DATA + 0x2000, access=W)
    assert arm.engine.get("pc") == CODE + 8
    assert arm.clock.now() == 8
    arm.load("1f2003d5" "00000000")  # udf
    assert arm.run().kind is StopKind.TRAP
    assert arm.engine.get("pc") == CODE + 4
    arm.load("1f2003d5" "000020d4")  # brk #0
    assert arm.run().kind is StopKind.TRAP
    assert arm.engine.get("pc") == CODE + 4
    assert arm.clock.now() == 16


def test_arm64_floating_point_and_atomics(arm: Bench) -> None:
    arm.load("2000271e" "200020f8" "010000d4")  # fmov s0, w1; ldadd x0, x0, [x1]; svc
    arm.engine.set("x1", DATA)
    assert arm.run() == SYSCALL


def test_contexts(x86: Bench) -> None:
    engine = x86.engine
    context = engine.new_context()
    engine.context_set(context, "pc", CODE)
    engine.context_set(context, "di", 5)
    engine.context_set(context, "fs_base", 0x1234000)
    engine.restore(context)
    assert (engine.get("pc"), engine.get("di"), engine.get("fs_base"), engine.get("ax")) == (CODE, 5, 0x1234000, 0)
    assert engine.get("mxcsr") == 0x1F80
    engine.set("di", 6)
    engine.save(context)
    assert engine.context_get(context, "di") == 6


def test_spaces_keep_their_memory_apart(x86: Bench) -> None:
    other = AddressSpace(x86.memory)
    other.map(CODE, 4096, R | X | W)
    other.write(CODE, bytes.fromhex("b802000000" "0f05"))
    x86.load("b801000000" "0f05")
    for space, result in ((x86.space, 1), (other, 2), (x86.space, 1)):
        x86.engine.activate(space)
        x86.engine.set("pc", CODE)
        assert x86.run() == SYSCALL
        assert x86.engine.get("ax") == result


def test_stop_in_mid_block_after_code_that_does_not_look_for_it(x86: Bench) -> None:
    """An exact point that comes late stops before its instruction, though earlier translations look for stops as blocks begin only."""
    assert x86.engine.exit_checks_found
    x86.load("488b07 48ffc3 488907 48ffc3 0f05")  # mov rax, [rdi]; inc rbx; mov [rdi], rax; inc rbx; syscall
    for planted in (False, True):
        x86.engine.set("rdi", DATA)
        x86.engine.set("rbx", 0)
        x86.engine.set("pc", CODE)
        if planted:
            x86.engine.plant(x86.space, CODE + 9, x86.engine.request_stop, exact=True)
            assert x86.run().kind is StopKind.STOPPED
            assert (x86.engine.get("rbx"), x86.engine.get("pc")) == (1, CODE + 9)
        assert x86.run().kind is StopKind.SYSCALL
        assert x86.engine.get("rbx") == 2
