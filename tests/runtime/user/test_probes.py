"""The emulated kernel's functions and tracepoints, as probes see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from pyprobe.runtime.user.machine import UserMachine

Emulate = Callable[..., tuple[int, bytes, bytes]]


def test_kernel_clone_tells_parent_and_child(emulate: Emulate) -> None:
    seen: list[tuple[bytes, int]] = []
    entries: list[tuple[bytes, tuple[int, ...]]] = []

    def prepare(machine: UserMachine) -> None:
        clone = machine.functions["kernel_clone"]
        machine.functions.attach(
            "kernel_clone",
            lambda: entries.append((machine.current.comm, clone.args)),  # type: ignore[union-attr]  # a task calls it
            lambda: seen.append((machine.current.comm, clone.retval)),  # type: ignore[union-attr]
        )

    emulate(["/bin/sh", "-c", "/bin/true; (exit 3); /bin/echo x | /bin/cat"], prepare=prepare)
    assert [comm for comm, _ in entries] == [b"sh"] * 4
    assert all(args[0] > 1 << 63 for _, args in entries)
    assert [pid for _, pid in seen] == sorted(pid for _, pid in seen)
    assert {comm for comm, _ in seen} == {b"sh"}


def test_a_blocked_function_fires_once(emulate: Emulate) -> None:
    events: list[str] = []

    def prepare(machine: UserMachine) -> None:
        nanosleep = machine.functions["hrtimer_nanosleep"]
        machine.functions.attach(
            "hrtimer_nanosleep", lambda: events.append(f"in {nanosleep.args[0]}"), lambda: events.append(f"out {nanosleep.retval}")
        )
        machine.tracepoints.attach("syscalls", "sys_enter_clock_nanosleep", lambda: events.append("enter"))
        machine.tracepoints.attach("syscalls", "sys_exit_clock_nanosleep", lambda: events.append("exit"))

    emulate(["/bin/sleep", "2"], prepare=prepare)
    assert events == ["enter", "in 2000000000", "out 0", "exit"]


def test_syscall_functions_and_tracepoints_agree(emulate: Emulate) -> None:
    counts: Counter[str] = Counter()
    failures: list[int] = []

    def prepare(machine: UserMachine) -> None:
        openat = machine.functions["__x64_sys_openat"]
        enter = machine.tracepoints.get("syscalls", "sys_enter_openat")
        assert enter is not None and [name for _, name in enter.fields] == ["__syscall_nr", "dfd", "filename", "flags", "mode"]

        def leave() -> None:
            counts["function"] += 1
            if openat.retval >> 63:
                failures.append(openat.retval - (1 << 64))

        machine.functions.attach("__x64_sys_openat", None, leave)
        machine.tracepoints.attach("syscalls", "sys_exit_openat", lambda: counts.update(["tracepoint"]))
        machine.tracepoints.attach("raw_syscalls", "sys_enter", lambda: counts.update(["raw"]))

    emulate(["/bin/cat", "/no/such/file"], prepare=prepare)
    assert counts["function"] == counts["tracepoint"] > 1
    assert counts["raw"] > counts["tracepoint"]
    assert failures == [-2] * len(failures) and failures


def test_kernel_stack(emulate: Emulate) -> None:
    stacks: list[list[str]] = []

    def prepare(machine: UserMachine) -> None:
        functions = machine.functions
        functions.trace_stack()

        def note() -> None:
            names = [functions.symbol(address) for address in functions.stack()]
            stacks.append([name[0] for name in names if name])

        functions.attach("vfs_read", note)
        functions.attach("wake_up_new_task", note)

    emulate(["/bin/sh", "-c", "/bin/true"], prepare=prepare)
    assert all(stack[-2:] == ["do_syscall_64", "entry_SYSCALL_64_after_hwframe"] for stack in stacks)
    assert any(stack[0] == "vfs_read" and "__x64_sys_read" in stack for stack in stacks)
    assert any(stack[:2] == ["wake_up_new_task", "kernel_clone"] for stack in stacks)


def test_process_tracepoints(emulate: Emulate) -> None:
    events: list[tuple[object, ...]] = []

    def prepare(machine: UserMachine) -> None:
        for name in ("sched_process_fork", "sched_process_exec", "sched_process_exit", "sched_switch"):
            tracepoint = machine.tracepoints.get("sched", name)
            assert tracepoint is not None
            machine.tracepoints.attach("sched", name, lambda t=tracepoint: events.append((t.name, *t.values)))  # type: ignore[misc]

    emulate(["/bin/sh", "-c", "/bin/true; exit 2"], prepare=prepare)
    kinds = [event for event in events if event[0] != "sched_switch"]
    assert kinds[0][:3] == ("sched_process_fork", b"sh", 1000)
    assert kinds[1] == ("sched_process_exec", b"/bin/true", 1001, 1001)
    assert kinds[2][:3] == ("sched_process_exit", b"true".ljust(16, b"\0"), 1001)
    assert kinds[3][:3] == ("sched_process_exit", b"sh".ljust(16, b"\0"), 1000)
    switches = [event for event in events if event[0] == "sched_switch"]
    assert switches[0][2] == 0 and switches[-1][6] == 1000
    assert [event[2] for event in switches][1:] == [event[6] for event in switches][:-1]


def test_probes_change_nothing(emulate: Emulate) -> None:
    times: list[int] = []

    def traced(machine: UserMachine) -> None:
        for function in machine.functions:
            machine.functions.attach(function.name, lambda: None, lambda: None)
        for tracepoint in machine.tracepoints:
            machine.tracepoints.attach(tracepoint.category, tracepoint.name, lambda: None)
        machines.append(machine)

    machines: list[UserMachine] = []
    command = ["/bin/sh", "-c", "ls / | sort | head -3; (sleep 1; echo $$) & wait; date +%s%N"]
    plain = emulate(command, prepare=machines.append)
    times.append(machines.pop().clock.now())
    assert emulate(command, prepare=traced) == plain
    assert machines[0].clock.now() == times[0]


def test_images_are_announced_once_in_each_space(emulate: Emulate) -> None:
    seen: list[tuple[int, bytes]] = []

    def prepare(machine: UserMachine) -> None:
        for space in machine.spaces():
            seen.extend((id(space), vma.path) for vma in machine.images(space))
        machine.on_image.append(lambda space, vma: keep.append(space) or seen.append((id(space), vma.path)))

    keep: list[object] = []
    emulate(["/bin/sh", "-c", "/bin/true; /bin/true"], prepare=prepare)
    assert len(seen) == len(set(seen))
    assert sum(path.endswith(b"/true") for _, path in seen) == 2
    assert any(b"libc.so" in path for _, path in seen)


def test_every_function_is_declared_by_the_kernel() -> None:
    from pyprobe.runtime.user import calls, functions

    declared = {name for name, kind in calls.KernelCalls.__annotations__.items() if kind == "Function"}
    assert declared == {name for name in functions._BODIES if not name.startswith("__")}  # a class cannot declare those


def test_a_page_is_missing_when_its_fault_begins(emulate: Emulate) -> None:
    """handle_mm_fault begins before the page can be read, and ends when it can; what a probe reads meanwhile changes nothing."""
    seen: list[tuple[int, int, bool]] = []

    def look(machine: UserMachine, probing: bool) -> None:
        fault = machine.functions["handle_mm_fault"]
        task = machine.current
        assert task is not None
        size = len(task.space.peek(fault.args[1], 1)) if probing else 0
        seen.append((fault.args[1], size, probing))

    def prepare(machine: UserMachine, probing: bool) -> None:
        machine.functions.attach("handle_mm_fault", lambda: look(machine, probing), lambda: look(machine, probing), arguments=True)

    told = {}
    for probing in (True, False):
        seen.clear()
        assert emulate(["/bin/true"], prepare=lambda machine, probing=probing: prepare(machine, probing))[0] == 0  # type: ignore[misc]  # binds the loop's value
        told[probing] = list(seen)
    entries, exits = told[True][::2], told[True][1::2]
    assert [address for address, _, _ in entries] == [address for address, _, _ in exits] == [address for address, _, _ in told[False][::2]]
    fresh = {address >> 12: size for address, size, _ in reversed(entries)}
    assert len(fresh) > 20 and sum(size == 0 for size in fresh.values()) > 20
    assert all(size == 1 for _, size, _ in exits)
