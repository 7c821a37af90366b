"""uprobe and uretprobe on compiled programs: every call, every return, nothing else; what the program does stays the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pyprobe.lang.attachpoint import NoMatch, PointError
from pyprobe.runtime.probes.base import AttachError
from pyprobe.runtime.probes.world import MachineWorld
from tests.runtime.probes.conftest import point


def native_output(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, timeout=30, check=False).stdout


def test_arguments_and_results(compiled, trace):
    program = compiled("calls.c")
    run = trace([program, "4"], (f"uprobe:{program}:leaf", ("arg", 0), "pid", "comm"), (f"uretprobe:{program}:leaf", "retval"))
    assert run.out == native_output(program, 4)
    u, r = f"uprobe:{program}:leaf", f"uretprobe:{program}:leaf"
    assert run.events == [e for i in range(4) for e in ((u, i, 1000, b"calls"), (r, i + 1))]


def test_recursion(compiled, trace):
    program = compiled("calls.c")
    run = trace([program, "3"], (f"uprobe:{program}:rec", ("arg", 0)), (f"uretprobe:{program}:rec", "retval"))
    assert [e[1] for e in run.events] == [3, 2, 1, 0, 0, 1, 3, 6]


@pytest.mark.parametrize("probed", [("even",), ("odd",), ("even", "odd")])
def test_tail_calls_return_once_for_every_function(compiled, trace, probed):
    """even(10) and odd(7) call each other by jumps: each call returns, all at the same instruction."""
    program = compiled("calls.c", "-O2")
    calls = {"even": 6 + 4, "odd": 5 + 4}
    run = trace(
        [program, "1"],
        *((f"{kind}:{program}:{f}", "retval" if kind == "uretprobe" else "pid") for kind in ("uprobe", "uretprobe") for f in probed),
    )
    names = [e[0] for e in run.events]
    for f in probed:
        assert names.count(f"uprobe:{program}:{f}") == names.count(f"uretprobe:{program}:{f}") == calls[f]
    assert {e[1] for e in run.events if e[0].startswith("uretprobe:")} == {1}


def test_longjmp_drops_frames(compiled, trace):
    program = compiled("calls.c")
    run = trace(
        [program, "1"],
        (f"uprobe:{program}:jumper", ("arg", 0)),
        (f"uretprobe:{program}:jumper",),
        (f"uretprobe:{program}:guarded", "retval"),
    )
    assert run.names() == ["jumper", "guarded", "jumper", "jumper", "guarded", "jumper", "jumper", "jumper", "guarded"]
    assert [e[1] for e in run.events if e[0].endswith("guarded")] == [7, 7, 7]
    assert not [e for e in run.events if e[0].startswith("uretprobe") and e[0].endswith("jumper")]


def test_a_function_that_is_left_by_longjmp_and_called_again(compiled, trace):
    """The same call site, the same stack: the dead call must not return with the living one."""
    program = compiled("rejump.c")
    for f in ("sometimes", "through_thunk", "through_pointer"):
        run = trace([program], (f"uprobe:{program}:{f}",), (f"uretprobe:{program}:{f}", "retval"))
        assert run.out == native_output(program)
        returns = [e[1] for e in run.events if e[0].startswith("uretprobe")]
        assert returns == [1, 3, 5], f
        assert len(run.events) == 6 + 3


def test_longjmp_over_a_library_function(compiled, trace):
    program, library = rejump_with_library(compiled)
    run = trace([program], (f"uretprobe:{library}:maybe", "retval"))
    assert [e[1] for e in run.events] == [1, 3, 5]


def rejump_with_library(compiled):
    library = compiled("rejump.c", "-shared", "-fPIC", "-DLIBRARY", output="librejump.so")
    return compiled("rejump.c", "-DLIBRARY_USER", str(library), f"-Wl,-rpath,{library.parent}", "-fplt", "-Wl,-z,lazy"), library


def test_cxx_exceptions(compiled, trace):
    program = compiled("exceptions.cc")
    run = trace(
        [program],
        (f"uprobe:{program}:thrower", ("arg", 0)),
        (f"uretprobe:{program}:thrower",),
        (f"uretprobe:{program}:catcher", "retval"),
        (f"uretprobe:{program}:plain", "retval"),
    )
    assert run.out == native_output(program)
    assert [e[1] for e in run.events if e[0].endswith("catcher")] == [101, 101, 101]
    assert [e[1] for e in run.events if e[0].endswith("plain")] == [1, 2, 3]
    assert len([e for e in run.events if e[0].endswith("thrower")]) == 1 + 2 + 3


def test_threads_and_signals_on_another_stack(compiled, trace):
    program = compiled("threads.c", "-pthread")
    run = trace(
        [program], (f"uprobe:{program}:work", "tid"), (f"uretprobe:{program}:work", "tid"), (f"uretprobe:{program}:interrupted", "retval")
    )
    assert run.out == native_output(program)
    entries = [e[1] for e in run.events if e[0].startswith("uprobe")]
    returns = [e[1] for e in run.events if e[0] == f"uretprobe:{program}:work"]
    assert len(entries) == 4 * 20 * 4 + 3
    assert sorted(entries) == sorted(returns)
    assert run.names()[-1] == "interrupted"


def test_libraries_and_forked_processes(compiled, trace):
    library = compiled("library.c", "-shared", "-fPIC", output="libsum.so")
    program = compiled("library.c", "-DLIBRARY_USER", str(library), f"-Wl,-rpath,{library.parent}", output="user")
    run = trace(
        [program], (f"uprobe:{library}:library_add", ("arg", 0), ("arg", 1), "pid"), (f"uretprobe:{library}:library_add", "retval", "pid")
    )
    assert run.out == native_output(program)
    assert [e[1:] for e in run.events] == [
        (0, 10, 1000),
        (10, 1000),
        (1, 10, 1000),
        (11, 1000),
        (2, 10, 1000),
        (12, 1000),
        (4, 4, 1001),
        (8, 1001),
    ]


def test_libc_by_name(compiled, trace):
    program = compiled("calls.c")
    run = trace([program], ("uprobe:libc:strdup",), ("uprobe:libc:qsort", ("arg", 1), ("arg", 2)))
    assert [e[1:] for e in run.events if e[0].endswith("qsort")] == [(3, 4)]
    assert run.events[0][0].startswith("uprobe:/") and "libc.so.6:" in run.events[0][0]


def test_wildcards_expand_in_order_and_probes_fire_in_source_order(compiled, trace):
    program = compiled("calls.c")
    run = trace([program, "1"], (f"uprobe:{program}:leaf", "probe"), (f"uprobe:{program}:le*", "pid"), (f"uprobe:{program}:leaf", "tid"))
    assert [e[1] for e in run.events] == [f"uprobe:{program}:leaf".encode(), 1000, 1000]
    world = MachineWorld([str(program).encode()])
    assert [p.function for p in world.matches(point(f"uprobe:{program}:*"))] == sorted(
        {p.function for p in world.matches(point(f"uprobe:{program}:*"))}
    )
    assert list(world.matches(point(f"uprobe:{program}:[l]*"))) == []


def test_offsets_and_addresses(compiled, trace):
    from pyprobe.runtime.machine.disassembly import instructions
    from pyprobe.runtime.machine.symbols import Image

    program = compiled("calls.c")
    image = Image.open(str(program))
    rec = image.function("rec")
    starts = [i.address for i in instructions("x86_64", image.code(rec), 0)]
    run = trace(
        [program, "2"],
        (f"uprobe:{program}:rec+{starts[1]}",),
        (point(f"uprobe:{program}:", address=rec.address),),
        (f"uprobe:{program}:rec+0",),
    )
    assert run.names() == [f"{rec.address}", "rec", f"rec+{starts[1]}"] * 3
    middle = next(n for n in range(rec.size) if n not in starts)
    with pytest.raises(AttachError, match=rf"Could not add uprobe into middle of instruction: .*:rec\+{middle}"):
        trace([program], (f"uprobe:{program}:rec+{middle}",))
    with pytest.raises(AttachError, match=rf"Offset outside the function bounds \('rec' size is {rec.size}\)"):
        trace([program], (f"uprobe:{program}:rec+{rec.size}",))
    with pytest.raises(AttachError, match="Could not resolve address"):
        trace([program], (point(f"uprobe:{program}:", address=1 << 40),))
    with pytest.raises(AttachError, match=r"Could not determine instruction boundary for uprobe:.*:10 "):
        trace([program], (point(f"uprobe:{program}:", address=10),))


def test_a_function_that_is_fallen_into(compiled, trace):
    program = compiled("fallthrough.c")
    run = trace(
        [program],
        (f"uprobe:{program}:second", ("arg", 0)),
        (f"uretprobe:{program}:second", "retval"),
        (f"uretprobe:{program}:first", "retval"),
    )
    assert run.out == b"12 11\n"
    # `first` runs into `second`: both end in one return, as with a tail call
    assert sorted(e[1] for e in run.events if e[0].startswith("uprobe")) == [1, 2]
    assert [e[1] for e in run.events if e[0].endswith("second") and e[0].startswith("ur")].count(12) == 1


def test_func_uaddr_and_ustack(compiled, trace):
    from pyprobe.runtime.machine.symbols import Image

    program = compiled("calls.c", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls")
    image = Image.open(str(program))
    run = trace(
        [program, "2"],
        (f"uprobe:{program}:rec", "func", ("uaddr", "counter"), ("ustack", "bpftrace", 127)),
        (f"uretprobe:{program}:rec", "func"),
    )
    entry = next(e for e in run.events if e[0].startswith("uprobe"))
    (address, pid), counter, stack = entry[1:]
    bias = address - image.function("rec").address
    assert pid == 1000 and bias % 4096 == 0
    assert counter == image.object("counter").address + bias
    deepest = [e for e in run.events if e[0].endswith(":rec") and e[0].startswith("uprobe")][-1][3]
    shown = [image.at(a - bias).name for a in deepest[1:] if image.at(a - bias)]
    assert shown[:4] == ["rec", "rec", "rec", "main"]
    assert stack[0] == 1000
    assert {e[1] for e in run.events if e[0].startswith("uretprobe")} == {(address, 1000)}


def test_arm64(compiled, trace):
    program = compiled("calls.c", "-static", arch="arm64")
    run = trace(
        [program, "3"],
        (f"uprobe:{program}:rec", ("arg", 0)),
        (f"uretprobe:{program}:rec", "retval"),
        (f"uretprobe:{program}:guarded", "retval"),
    )
    assert [e[1] for e in run.events] == [3, 2, 1, 0, 0, 1, 3, 6, 7, 7, 7]
    program = compiled("calls.c", "-static", "-O2", arch="arm64")
    run = trace([program, "1"], (f"uretprobe:{program}:even", "retval"), (f"uretprobe:{program}:odd", "retval"))
    assert [e[0].rpartition(":")[2] for e in run.events].count("even") == 10
    program = compiled("rejump.c", "-static", arch="arm64")
    for f in ("sometimes", "through_thunk"):
        run = trace([program], (f"uretprobe:{program}:{f}", "retval"))
        assert [e[1] for e in run.events] == [1, 3, 5]


def test_targets_that_nothing_maps_are_told(compiled, trace):
    program = compiled("calls.c")
    run = trace(["/bin/true"], (f"uprobe:{program}:leaf",))
    assert run.events == []
    assert run.attachments.warnings() == [f"uprobe target '{program}' was not mapped by any process: its probes could not fire"]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (point("uprobe::f"), "uprobe should have a target"),
        (point("uprobe:/nowhere/x:f"), "uprobe target file '/nowhere/x' does not exist or is not executable"),
        (point("uprobe:/etc/passwd:f"), "uprobe target file '/etc/passwd' does not exist or is not executable"),
        (point("uprobe:/nowhere/*:f"), "uprobe target file '/nowhere/*' does not exist or is not executable"),
        (point("uprobe:/bin/true:"), "uprobe should be attached to a function and/or address"),
        (point("uretprobe:/bin/true:f+4"), "Offset not allowed"),
        (point("uprobe:/bin/true:f", language="rust"), "unsupported language type: rust"),
    ],
)
def test_errors(made, message):
    with pytest.raises(PointError) as raised:
        list(MachineWorld().matches(made))
    assert raised.value.message == message


def test_damaged_targets_are_told_from_missing_ones(compiled, tmp_path):
    damaged = tmp_path / "damaged"
    damaged.write_bytes(compiled("calls.c").read_bytes()[:30])
    damaged.chmod(0o755)
    with pytest.raises(PointError, match="does not exist or is not executable") as raised:
        list(MachineWorld().matches(point(f"uprobe:{damaged}:main")))
    assert "damaged ELF file" in raised.value.hints[0]


@pytest.mark.parametrize("probe", ["uprobe:{}:main", "usdt:{}:a:b"])
def test_what_the_command_will_make_cannot_be_named(probe: str, pyprobe, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # a fixture
    made = tmp_path / "made"
    done = pyprobe("-e", probe.format(made) + " { }", "-c", f"cp /bin/true {made}")
    assert f"target file '{made}' does not exist or is not executable\n" in done.err and done.status == 1
    assert "HINT: Only files that are there before the command runs can be probed, not what it makes itself.\n" in done.err


def test_functions_of_unknown_size(compiled, trace):
    program = compiled("calls.c")
    with pytest.raises(AttachError, match="Could not determine boundary for register_tm_clones"):
        trace([program], (f"uprobe:{program}:register_tm_clones",))
    assert trace([program], (f"uprobe:{program}:register_tm_c*",)).names() == ["register_tm_clones"]


def test_cxx_names(compiled, trace):
    program = compiled("exceptions.cc")
    run = trace(
        [program],
        (point(f"uprobe:{program}:f", function="Guard::~Guard", language="cpp"),),
        (point(f"uprobe:{program}:plain", language="cpp"),),
    )
    assert [e[0] for e in run.events if e[0].endswith("plain")] == [f"uprobe:{program}:cpp:plain"] * 3
    with pytest.raises(NoMatch, match=f"No matches for uprobe {program}:Nothing."):
        trace([program], (point(f"uprobe:{program}:Nothing", language="cpp"),))


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("ns::fn", ["_ZN2ns2fnEPKc", "_ZN2ns2fnEi"]),
        ("ns::fn(int)", ["_ZN2ns2fnEi"]),
        ("ns::fn(*", ["_ZN2ns2fnEPKc", "_ZN2ns2fnEi"]),
        ("ns::*", ["_ZN2ns2fnEPKc", "_ZN2ns2fnEi", "_ZNK2ns1W3getEi", "_ZNK2ns1WplERKS0_"]),
        ("ns::W::operator+", ["_ZNK2ns1WplERKS0_"]),
        ("*same*", ["_ZN2ns4sameIiEET_S1_"]),
        ("int ns::same<int>", ["_ZN2ns4sameIiEET_S1_"]),
        ("_ZN2ns2fnEi", ["_ZN2ns2fnEi"]),
        ("plain", ["plain"]),
    ],
)
def test_cxx_names_that_are_written(compiled, written, found):
    program = compiled("names.cc", "-O1")
    wanted = point(f"uprobe:{program}:f", function=written, language="cpp")
    assert [p.function for p in MachineWorld().matches(wanted)] == found


def test_unknown_functions_match_nothing():
    with pytest.raises(NoMatch, match="No matches for uprobe /bin/true:nosuch"):
        MachineWorld().matches(point("uprobe:/bin/true:nosuch"))
    assert list(MachineWorld().matches(point("uprobe:/bin/true:nosuch*"))) == []


def test_probes_do_not_change_the_program(compiled, trace):
    program = compiled("threads.c", "-pthread")
    without = trace([program])
    with_probes = trace([program], (f"uprobe:{program}:*",), (f"uretprobe:{program}:*",))
    assert without.out == with_probes.out
    assert without.machine.clock.now() == with_probes.machine.clock.now()


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_coroutines_return_in_another_order(compiled, trace, arch):
    program = compiled("coroutines.c", *(("-static",) if arch == "arm64" else ()), arch=arch)
    run = trace([program], (f"uretprobe:{program}:step", "retval"), (f"uprobe:{program}:step", ("arg", 0)))
    returns = [e[1] for e in run.events if e[0].startswith("uret")]
    assert returns == [100, 0, 1, 101, 102, 2]
    assert run.out == b"306\n"


def test_libraries_that_come_and_go(compiled, trace):
    program = compiled("loader.c", "-ldl")
    first = compiled("loader.c", "-DLIBRARY=10", "-shared", "-fPIC", output="libfirst.so")
    second = compiled("loader.c", "-DLIBRARY=20", "-shared", "-fPIC", output="libsecond.so")
    run = trace([program, first, second], (f"uprobe:{first}:answer", ("arg", 0)), (f"uretprobe:{first}:answer", "retval"))
    assert run.out == b"11 22 11 22 \n"
    assert [e[1] for e in run.events] == [1, 11, 1, 11]
