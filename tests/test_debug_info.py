"""What debug information adds to probes of programs: typed parameters, their declarations in listings, places in the source."""

from __future__ import annotations

from pathlib import Path

import pytest

TAKE = """\
    thing_t* t
    int n
    const char* s
    enum colour c
    long int big
    unsigned char small
"""


@pytest.fixture(scope="module", params=["-gdwarf-4", "-gdwarf-5"])
def program(request, build):
    return build("typed.c", "-O1", request.param)


@pytest.fixture(scope="module")
def arm64_program(build):
    return build("typed.c", "-O1", "-g", compiler="aarch64-linux-gnu-gcc")


def shown(pyprobe, program, body, *options):
    run = pyprobe(*options, "-e", f"uprobe:{program}:take {{ {body} }}", "-c", str(program))
    assert run.status == 0, run
    return run.out.rstrip("\n").split("\n")


def test_parameters(pyprobe, program):
    body = "print(args.n); print(str(args.s)); print(args.c); print(args.big); print(args.small); print(arg1 == args.n);"
    assert shown(pyprobe, program, body) == ["3", "abc", "6", "1099511627776", "250", "true"]


def test_parameters_on_arm64(pyprobe, arm64_program):
    body = "print(args.n); print(args.t.name); print(args.big); print(args.t.narrow);"
    assert shown(pyprobe, arm64_program, body) == ["3", "firstxyz", "1099511627776", "-3"]


def test_members_of_every_kind(pyprobe, program):
    members = ["letter", "s", "i", "l", "low", "high", "narrow", "name", "numbers", "in", "colour", "flag", "a", "b", "grid"]
    body = f"$t = args.t; {' '.join(f'print($t.{m});' for m in members)} print($t.next.name); print($t.grid[1][0]); print($t.next.next);"
    assert shown(pyprobe, program, body) == [
        "65", "-2", "30", "-4000000000", "5", "17", "-3", "firstxyz", "[1,-2,3]", "{ .x = 9, .y = 200 }", "5", "1", "77", "77",
        "[[1,2],[3,4]]", "second", "3", "0x0",
    ]  # fmt: skip


def test_all_parameters_at_once(pyprobe, program):
    (line,) = shown(pyprobe, program, "print(args);")
    assert line.startswith("{ .t = 0x") and line.endswith(", .c = 6, .big = 1099511627776, .small = 250 }")


def test_structs_in_json(pyprobe, program):
    lines = shown(pyprobe, program, "print(args.t.in); @[args.t.numbers] = args.t.in;", "-f", "json")
    assert lines[1:] == [
        '{"type": "value", "data": {"x": 9, "y": 200}}',
        '{"type": "map", "data": {"@": {"[1,-2,3]": {"x": 9, "y": 200}}}}',
    ]


def test_declarations(pyprobe, program):
    run = pyprobe("-lv", f"uprobe:{program}:take,uprobe:{program}:half,uretprobe:{program}:take")
    half = "    double d\n    volatile int* p\n    int (*)(int, long int) call\n"
    assert run.out == f"uprobe:{program}:take\n{TAKE}uprobe:{program}:half\n{half}uretprobe:{program}:take\n"


def test_types_by_name(pyprobe, program):
    """Without a C section, structs, unions and typedefs of the probed program may be named."""
    body = "$t = (struct thing *)arg0; print($t.name); print($t.next.name); print(sizeof(thing_t)); print(offsetof(struct thing, in));"
    assert shown(pyprobe, program, body) == ["firstxyz", "second", "88", "40"]
    run = pyprobe("-e", f"uprobe:{program}:take {{ print(sizeof(struct nosuch)); }}")
    assert run.status == 1 and 'ERROR: Cannot resolve unknown type "struct nosuch"' in run.err


def test_unknown_parameter(pyprobe, program):
    run = pyprobe("-e", f"uprobe:{program}:take {{ print(args.nosuch); }}")
    assert run.status == 1 and "ERROR: Can't find function parameter nosuch" in run.err


def test_function_without_parameters(pyprobe, program):
    run = pyprobe("-e", f"uprobe:{program}:nothing {{ print(args); }}")
    assert run.status == 1 and "ERROR: Cannot read function parameters" in run.err


@pytest.mark.parametrize("file", ["typed.c", "programs/typed.c"])
def test_source_line(pyprobe, program, file):
    """The line of take() is its first instruction, where the arguments still are in their registers."""
    run = pyprobe("-e", f'uprobe:{program}@{file}:21 {{ printf("%d %s\\n", arg1, usym(reg("ip"))); }}', "-c", str(program))
    assert run.out.rstrip("\n") == "3 take", run


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("typed.c:5000", "DWARF error: Unable to map 'typed.c:5000' to address"),
        ("typed.c:21:77", "DWARF error: Unable to map 'typed.c:21:77' to address"),
        ("other.c:1", "DWARF error: No compilation unit matches other.c"),
        ("yped.c:22", "DWARF error: No compilation unit matches yped.c"),
    ],
)
def test_no_such_line(pyprobe, program, place, message):
    run = pyprobe("-e", f"uprobe:{program}@{place} {{ }}")
    assert run.status == 1 and f"ERROR: {message}\n" in run.err


def test_without_debug_information(pyprobe, build):
    program = build("typed.c", "-O1", "-g0")
    run = pyprobe("-e", f"uprobe:{program}@typed.c:21 {{ }} uprobe:{program}:take {{ print(args.n); }}")
    assert f"ERROR: No DWARF debug info found for '{program}', cannot attach by source code location." in run.err
    run = pyprobe("-e", f"uprobe:{program}:take {{ print(args.n); }}")
    assert f'ERROR: Could not parse arguments of "uprobe:{program}:take": no debuginfo found for {program}' in run.err
    listed = pyprobe("-lv", f"uprobe:{program}:take")
    assert f'WARNING: No DWARF found for "{program}", cannot show parameter info' in listed.err


def test_damaged_debug_information(pyprobe, program, tmp_path):
    """Whatever the debug sections hold, there is one message or an answer, no crash."""
    content = program.read_bytes()
    at = content.find(b"\x2f", 0x3000)
    for start in range(at, min(len(content), at + 4000), 1300):
        damaged = tmp_path / "damaged"
        damaged.write_bytes(content[:start] + b"\xff\x80\x01" * 40 + content[start + 120 :])
        damaged.chmod(0o755)
        run = pyprobe("-lv", f"uprobe:{damaged}:take")
        assert run.status in (0, 1) and "Traceback" not in run.err, run


@pytest.mark.parametrize(("setting", "name"), [("true", "ns::fn(int)"), ("false", "_ZN2ns2fnEi")])
def test_cxx_names_are_shown_as_written(pyprobe, build, setting, name):
    program = build("names.cc", "-O1")
    probe = f'uprobe:{program}:cpp:"ns::fn(int)" {{ printf("%s %s\\n", func, probe); print(ustack(2)); @[usym(reg("ip"))] = count(); }}'
    run = pyprobe("-e", f"config = {{ cpp_demangle = {setting} }} {probe}", "-c", str(program))
    assert run.out.splitlines() == [
        f"{name} uprobe:{program}:cpp:_ZN2ns2fnEi", "", f"        {name}+0", "        plain+5", "", "", "", f"@[{name}]: 1",
    ]  # fmt: skip


@pytest.mark.parametrize("flags", [("-O0", "-gdwarf-4"), ("-O2", "-gdwarf-4"), ("-O0", "-gdwarf-5"), ("-O2", "-gdwarf-5")])
def test_source_places_in_stacks(pyprobe, build, flags):
    program = build("inlined.c", *flags)
    script = f"uprobe:{program}:leaf {{ print(ustack(2)); print(ustack(perf, 2)); }}"
    run = pyprobe("-e", f"config = {{ show_debug_info = true }} {script}", "-c", str(program))
    places = [line.partition("@")[0::2] for line in run.out.split("\n") if "@" in line]
    names = [name.strip().partition("+")[0] for name, _ in places]
    assert names == ["leaf", "[inlined] inner", "[inlined] outer", "main"]
    source = Path(__file__).parent / "programs" / "inlined.c"
    lines = source.read_text(encoding="utf-8").split("\n")
    calls = ["int leaf(int n)", "return leaf(n) + 1;", "return inner(n + 1) * 2;", "return outer(3)"]
    for (_, place), text in zip(places, calls, strict=True):
        path, _, line = place.rpartition(":")
        assert Path(path) == source
        assert text in "\n".join(lines[int(line) - 1 : int(line) + 1])
    frames = [line.split()[1:] for line in run.out.split("\n") if line.startswith("\t")]
    assert frames[1:3] == [["inner", "(inlined)"], ["outer", "(inlined)"]]
    without = pyprobe("-e", script, "-c", str(program)).out
    assert "leaf+0" in without and "@" not in without and "(inlined)" not in without
