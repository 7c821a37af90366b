"""kprobe_events: definitions that the kernel accepts and refuses, and the lines of the trace (trace_kprobe.c, kprobetrace.rst)."""

from __future__ import annotations

import errno

import pytest

from pyprobe.runtime.kprobes.api import KprobeError
from pyprobe.runtime.kprobes.events import KprobeEvents, Memory, parse
from tests.runtime.kprobes.conftest import CODE, DATA, TARGET


@pytest.fixture
def events(kernel):
    lines: list[str] = []
    memory = Memory(lambda a, n: kernel.bench.space.peek(a, n) or None, lambda: ("cat", 1234), lambda: 1_234_567_891_234)
    made = KprobeEvents(kernel.kprobes, memory, lines.append)
    made.lines = lines
    return made


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("p vfs_read", "p:kprobes/p_vfs_read_0 vfs_read"),
        ("p:myprobe do_sys_open dfd=%ax", "p:kprobes/myprobe do_sys_open dfd=%ax"),
        ("p:grp/ev vfs_read+0x10 $arg1 +0(%di):string", "p:grp/ev vfs_read+16 arg1=$arg1 arg2=+0(%di):string"),
        ("r:back vfs_read $retval", "r:kprobes/back vfs_read arg1=$retval"),
        ("r16 vfs_read ret=$retval:s64", "r16:kprobes/r_vfs_read_0 vfs_read ret=$retval:s64"),
        ("p 0xffffffff81000000", "p:kprobes/p_0xffffffff81000000 0xffffffff81000000"),
        ("p f a=+8(+16(%sp)):u32 b=$stack2 c=$comm d=%ip:b4@8/32", "p:kprobes/p_f_0 f a=+8(+16(%sp)):u32 b=$stack2 c=$comm d=%ip:b4@8/32"),
    ],
)
def test_definitions(line, shown):
    assert str(parse(line, "x86_64")) == shown


@pytest.mark.parametrize(
    "line",
    [
        *("p", "q f", "p:9 f", "p f %nothing", "p f $retval", "r f $arg1", "r f+4", "p f a=%ax a=%bx", "p f a=%ax:u7", "p f 9x=%ax"),
        *("p5 f", "p f $nothing", "p:a-b f"),
    ],
)
def test_wrong_definitions(line):
    with pytest.raises(KprobeError) as error:
        parse(line, "x86_64")
    assert error.value.errno == errno.EINVAL


def test_trace(kernel, events):
    register = {"x86_64": "%di", "arm64": "%x0"}[kernel.arch]
    kernel.bench.space.write(DATA, b"hello\0" + bytes(2) + (77).to_bytes(8, "little"))
    events.write(
        f"p:one target n={register} s={register}:s8 c=$comm:string i=\\5:u8 f=+0({register}):u8\n"
        f"# a comment\np:two target2 t=@{DATA:#x}:string w=@{DATA + 8:#x}:u64 sym=@target:symbol\nr:back target ret=$retval:u32\n"
    )
    assert kernel.run() == 16
    size = kernel.symbols["target"][1]
    place = f"target+0x0/{size:#x}"
    one = f"             cat-1234    [000] .....  1234.567891: one: ({place}) n=0x5 s=5 c=\"cat\" i=5 f=(fault)"
    assert events.lines[0] == one
    start = "             cat-1234    [000] .....  1234.567891: "
    assert events.lines[1].startswith(f"{start}back: (main+0x") and events.lines[1].endswith(" <- target) ret=6")
    assert events.lines[2].startswith(f"{start}two: (target2+0x0/") and 't="hello" w=77' in events.lines[2]
    assert events.profile().splitlines()[0] == f"  {'one':<44} {3:15} {0:15}"


def test_adding_and_removing(kernel, events):
    before = kernel.code()
    events.write("p:a target\nr:g/b target2")
    assert events.read() == "p:kprobes/a target\nr:g/b target2\n"
    with pytest.raises(KprobeError) as error:
        events.add("p:a target2")
    assert error.value.errno == errno.EEXIST
    refused = {"p nothing": errno.ENOENT, "p nokprobe": errno.EINVAL, "-:c": errno.ENOENT, f"p {CODE + 0x900:#x}": errno.EINVAL}
    for wrong, number in refused.items():
        with pytest.raises(KprobeError) as error:
            events.write(wrong)
        assert error.value.errno == number
    events.write("-:a\n-:g/b")
    assert events.read() == "" and kernel.code() == before
    events.write(f"p:c {TARGET:#x} %sp")
    kernel.run()
    assert len(events.lines) == 3


def test_filters(kernel, events):
    register = {"x86_64": "%di", "arm64": "%x0"}[kernel.arch]
    kernel.bench.space.write(DATA, b"hello\0")
    events.write(f"p:one target n={register} c=$comm t=@{DATA:#x}:string")
    passing = ("n == 5", "n>=5 && n < 0x6", "!(n != 5)", 't ~ "h*o"', 't == "hello"', "COMM == 'cat' && common_pid == 1234", "n & 4")
    for filter in (*passing, "0"):
        events.write(f"filter:one {filter}")
        kernel.run()
    assert len(events.lines) == 3 * (len(passing) + 1)
    for filter in ("n == 6", "n & 2", 't ~ "h"', "comm != 'cat'", "n == 5 && (t == 'no' || n > 5)"):
        events.write(f"filter:one {filter}")
        kernel.run()
    assert len(events.lines) == 3 * (len(passing) + 1)
    for wrong in ("m == 1", "n == x", "n ~ 5", "n ==", "n == 5 &&", "(n == 5", "n == 5)", "t < 'a'", "t == a", "n == '5'", ""):
        with pytest.raises(KprobeError) as error:
            events.write(f"filter:one {wrong}")
        assert error.value.errno == errno.EINVAL, wrong


def test_the_command(tmp_path):
    from tests.conftest import run_pyprobe

    (tmp_path / "events").write_text("# two\np:open do_sys_openat2 name=+0($arg2):ustring\nr:back do_sys_openat2 $retval:s32\n")
    (tmp_path / "text").write_text("words\n")
    words = ("-c", f"cat {tmp_path}/text", "--stats", "kprobe_events", f"{tmp_path}/events", 'filter:open name ~ "*/text"')
    done = run_pyprobe(*words)
    assert done.status == 0, done
    lines = done.out.splitlines()
    assert lines[0] == "# tracer: nop" and lines[-1] == "words"
    (line,) = [line for line in lines if " open: " in line]
    assert line.endswith(f'open: (do_sys_openat2+0x0/0x100) name="{tmp_path}/text"') and lines[lines.index(line) + 1].endswith(" arg1=3")
    assert done.err.split()[0] == "open" and "back" in done.err
    for wrong, message in (("p nothing", "p nothing: no symbol nothing"), ("q f", "q f: not a definition"), ("/no/f", "/no/f: No such")):
        done = run_pyprobe("kprobe_events", wrong)
        assert done.status == 1 and message in done.err, done
