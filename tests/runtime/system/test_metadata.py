"""What kernels tell about themselves: symbols, types, events, what may be probed. The parts check each other where they overlap."""

from __future__ import annotations

import re
import struct
import subprocess
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from pyprobe.lang import typesys as t
from pyprobe.runtime.machine.elf import ElfFile
from pyprobe.runtime.system.kernels import store
from pyprobe.runtime.system.kernels.errors import KernelError
from pyprobe.runtime.system.metadata import btf, kallsyms, memory
from pyprobe.runtime.system.metadata.facts import FOLDER, Facts
from pyprobe.runtime.system.metadata.memory import KernelMemory, Segment
from pyprobe.runtime.system.metadata.symbols import Symbols
from pyprobe.runtime.system.metadata.types import KernelTypes
from tests.conftest import Result

BASE = 0xFFFF_FFFF_8100_0000
COUNT = 20000


def table(layout: str, *, absolute: bool = False) -> tuple[bytes, list[int], list[str]]:
    """A kernel image that holds a symbol table in one of the layouts, with the addresses and names in it."""
    tokens = [bytes([c]) if chr(c).isalnum() or c in b"_." else b"?%d" % c for c in range(256)]
    tokens[1], tokens[2] = b"T_long_common_beginning_", b"D"
    names = [f"T_long_common_beginning_{i:05}" for i in range(COUNT)]
    names[1] = "D" + "n" * 200  # a length of two bytes
    places = [BASE + 16 * i for i in range(COUNT)]
    if absolute:
        places[:3] = [0, 8, 4096]
    coded = bytearray()
    markers = []
    for i, name in enumerate(names):
        if i % 256 == 0:
            markers.append(len(coded))
        body = name.encode().replace(tokens[1], b"\1").replace(b"D", b"\2", 1)
        coded += (bytes([len(body)]) if len(body) < 128 else bytes([len(body) & 127 | 128, len(body) >> 7])) + body
    start = 0x1000

    def aligned(content: bytes) -> bytes:
        return content + bytes(-len(content) % (4 if layout == "C" else 8))

    def offsets(at: int) -> bytes:
        if layout == "C":
            return struct.pack(f"<{COUNT}i", *(p - (BASE + at + 4 * i) for i, p in enumerate(places)))
        if absolute:
            return struct.pack(f"<{COUNT}i", *(p if p < 1 << 31 else BASE - 1 - p for p in places))
        return struct.pack(f"<{COUNT}I", *(p - BASE for p in places))

    token_bytes = aligned(b"".join(tok + b"\0" for tok in tokens))
    index = struct.pack("<256H", *(sum(len(tok) + 1 for tok in tokens[:i]) for i in range(256)))
    marks = struct.pack(f"<{len(markers)}I", *markers)
    body = aligned(struct.pack("<I", COUNT)) + aligned(bytes(coded)) + aligned(marks) + token_bytes + index
    if layout == "A":
        content = bytes(start) + aligned(offsets(0)) + struct.pack("<Q", BASE) + body
    else:
        content = bytes(start) + body
        content += aligned(offsets(len(content))) + (b"" if layout == "C" else struct.pack("<Q", BASE))
    return content + b"\xff" * 64 * 1024, places, names


@pytest.mark.parametrize(("layout", "absolute"), [("A", False), ("A", True), ("B", False), ("B", True), ("C", False)])
def test_symbol_tables_of_all_layouts(layout: str, absolute: bool) -> None:
    content, places, names = table(layout, absolute=absolute)
    found = kallsyms.read(KernelMemory("x86_64", [Segment(BASE, content, 0, len(content))]))
    assert found.layout == layout
    assert list(found.addresses) == places
    assert [k + n for k, n in zip(found.kinds, found.names, strict=True)] == names
    # the same in the middle of a machine's RAM
    ram = memory.of_ram(bytes(4096) + content, 4096, len(content), BASE, "x86_64")
    assert list(kallsyms.read(ram).addresses) == places


def test_no_symbol_table_is_an_error() -> None:
    with pytest.raises(KernelError, match="no symbol table"):
        kallsyms.read(KernelMemory("arm64", [Segment(BASE, bytes(1 << 20), 0, 1 << 20)]))


def test_symbols_by_name_and_address() -> None:
    found = Symbols(array("Q", [0x3000, 0x1000, 0x1010, 0x1010, 0x2000]), "DTtTT", ["data", "_stext", "one", "alias", "_etext"])
    assert found.names == ["_stext", "one", "alias", "_etext", "data"]
    assert list(found.functions) == ["_stext", "alias", "one"] and not found.is_text(0x2000) and found.is_text(0x1FFF)
    assert found.symbol("alias") == ("alias", 0x1010, "T", 0xFF0, "vmlinux") and found.symbol("none") is None
    at = found.at(0x1011)
    assert at is not None and at.name == "one" and found.at(0xFFF) is None


def test_the_kernels_symbols(facts: Facts) -> None:
    symbols = facts.symbols
    assert len(symbols.names) > 40000 and list(symbols.addresses) == sorted(symbols.addresses)
    read = symbols.symbol("vfs_read")
    assert read is not None and 100 < read.size < 4096 and symbols.is_text(read.address)
    assert {"vfs_read", "kernel_clone", "start_kernel", "do_sys_openat2"} <= symbols.functions.keys()
    assert symbols.address("_stext") == symbols.text[0][0] >= facts.memory.base
    assert facts.memory.read(read.address, 4) != bytes(4)


def test_types_of_a_compiled_program(build: Callable[..., Path]) -> None:
    program = build("layout.c", "-gbtf", "-O0")
    with open(program, "rb") as stream:
        blob = ElfFile(stream).section(".BTF")
    types = KernelTypes(btf.Btf(blob))
    for line in subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout.splitlines():
        struct_name, path, offset, size = line.split()
        made = types.named(struct_name.replace("_", " ", 1))
        assert isinstance(made, t.Struct)
        if path == "-":
            assert made.size == int(size)
            continue
        field = made.fields[path]
        assert (path, field.offset, field.type.size) == (path, int(offset), int(size))
    outer = types.named("struct outer")
    assert isinstance(outer, t.Struct)
    kinds = {name: field.type for name, field in outer.fields.items()}
    assert (kinds["text"], kinds["flag"], kinds["tiny"], kinds["narrow"]) == (t.String(12), t.BOOL, t.INT16, t.UINT8)
    assert isinstance(kinds["next"], t.Pointer) and kinds["next"].to == outer and kinds["call"] == t.Pointer(t.VOID)
    assert {n: (f.offset, f.bits) for n, f in outer.fields.items() if f.bits} == {"low": (32, (0, 3)), "high": (32, (3, 13))}
    colour = types.constant("BLUE")
    assert colour is not None and colour[0] == 7 and str(colour[1]) == "enum colour"
    assert types.function("add") == ((("left", t.INT32), ("right", t.INT64)), t.INT64)
    assert types.named("struct nothing") is None and types.constant("NOTHING") is None
    assert [types.tagged(keyword) for keyword in ("struct", "union", "enum")] == [["struct outer"], ["union either"], ["enum colour"]]
    assert types.definition("struct outer").splitlines()[:12] == [
        "struct outer {",
        "\tchar text[12];",
        "\t_Bool flag;",
        "\tshort int tiny;",
        "\tstruct {",
        "\t\tint inner;",
        "\t\tunion {",
        "\t\t\tlong int wide;",
        "\t\t\tunsigned char narrow;",
        "\t\t};",
        "\t};",
        "\tunsigned int low: 3;",
    ]
    assert "\tlong int (*call)(int);\n" in types.definition("struct outer")
    assert types.definition("enum colour").startswith("enum colour {\n\tRED = 0,\n\tBLUE = 7,\n")


@pytest.mark.parametrize("blob", [b"", b"\x9f\xeb\x02", b"\x9f\xeb\x01\0" + bytes(40), bytes(100)])
def test_damaged_types_are_an_error(blob: bytes) -> None:
    with pytest.raises(KernelError, match=r"type information \(BTF\) is damaged"):
        btf.Btf(blob[:20] if blob[:3] == b"\x9f\xeb\x01" else blob)


def test_the_kernels_types(facts: Facts) -> None:
    types = facts.types
    task = types.named("struct task_struct")
    assert isinstance(task, t.Struct) and task.size > 2000
    assert task.fields["comm"].type == t.String(16) and task.fields["pid"].type == t.INT32
    assert task.fields["tgid"].offset == task.fields["pid"].offset + 4 == types.offset("task_struct", "tgid")
    assert types.offset("file", "f_path", "dentry") == types.offset("file", "f_path") + 8
    assert types.named("pid_t") == t.INT32 and types.named("u32") == t.UINT32
    assert types.written("const struct path *") == t.Pointer(types.named("struct path") or t.NONE)
    assert types.written("unsigned long[6]") == t.Array(t.UINT64, 6) and types.written("char[16]") == t.String(16)
    assert types.constant("PIDTYPE_SID") is not None
    found = types.function("vfs_read")
    assert found is not None and [name for name, _ in found[0]] == ["file", "buf", "count", "pos"] and found[1] == t.INT64
    for number in range(1, facts.btf.end):  # all of them can be made
        made = types.type(number)
        if isinstance(made, t.Struct):
            assert all(f.offset + f.type.size <= made.size or f.bits or isinstance(f.type, t.Array) for f in made.fields.values()), made


def test_events_agree_with_the_types_of_their_records(facts: Facts) -> None:
    checked = 0
    for event in facts.events.values():
        record = facts.types.named(f"struct trace_event_raw_{event.name}")
        if isinstance(record, t.Struct):
            for field in event.fields:
                name = f"__data_loc_{field.name}" if field.type.startswith("__data_loc") else field.name
                if name in record.fields:
                    checked += 1
                    assert (event.name, name, field.offset) == (event.name, name, record.fields[name].offset)
    assert checked > 1000


def test_events_and_raw_tracepoints(facts: Facts) -> None:
    switch = facts.events["sched", "sched_switch"]
    assert [f[:3] for f in switch.fields[:2]] == [("char[16]", "prev_comm", 8), ("pid_t", "prev_pid", 24)]
    opened = facts.events["syscalls", "sys_enter_openat"]
    assert [f.name for f in opened.fields] == ["__syscall_nr", "dfd", "filename", "flags", "mode"]
    assert opened.fields[2].type == "const char *"
    assert ("syscalls", "sys_enter_ni_syscall") not in facts.events
    assert list(facts.events) == sorted(facts.events)
    assert all(re.fullmatch(r"\w+", c) and re.fullmatch(r"\w+", n) for c, n in facts.events)
    with_tracepoint = {e.name for e in facts.events.values() if e.tracepoint}
    assert len(with_tracepoint & facts.raw_tracepoints.keys()) > 300
    found = facts.types.prototype(facts.raw_tracepoints["sched_switch"])
    assert found is not None and [str(kind) for _, kind in found[0][1:4]] == ["bool", "struct task_struct *", "struct task_struct *"]


def test_what_linux_lets_one_probe(facts: Facts) -> None:
    assert {"vfs_read", "kernel_clone", "do_sys_openat2"} <= facts.traceable
    assert facts.traceable <= facts.symbols.functions.keys() and len(facts.traceable) > 20000
    assert "start_kernel" not in facts.traceable  # gone after boot
    assert "get_kprobe" in facts.forbidden and not facts.forbidden.keys() & {"vfs_read", "register_kprobe"}


def test_damaged_facts_are_made_again(kernel: store.Kernel, tmp_path: Path) -> None:
    def fresh() -> Facts:
        return Facts(lambda: memory.of_image(kernel.image, kernel.arch), tmp_path / FOLDER)

    names = fresh().symbols.names
    kept = tmp_path / FOLDER / "symbols"
    whole = kept.read_bytes()
    for damaged in (b"", whole[:100], whole[:-1], whole[:5000] + b"\0" + whole[5001:], b"x" + whole):
        kept.write_bytes(damaged)
        assert fresh().symbols.names == names
        assert kept.read_bytes() == whole
    without = Facts(lambda: memory.of_image(kernel.image, kernel.arch))
    assert without.symbols.names == names


def test_listings(pyprobe: Callable[..., Result], kernel: store.Kernel) -> None:
    def listed(*words: str) -> list[str]:
        done = pyprobe("--kernel", kernel.name, *words)
        assert (done.status, done.err) == (0, "")
        return [str(line) for line in done.out.splitlines()]

    assert listed("-l", "kprobe:vfs_rea*") == ["kprobe:vfs_read", "kprobe:vfs_readlink", "kprobe:vfs_readv"]
    types = ["    struct file * file", "    char * buf", "    size_t count", "    loff_t * pos", "    ssize_t retval"]
    assert listed("-lv", "fexit:vfs_read") == ["fexit:vmlinux:vfs_read", *types]
    raw = ["rawtracepoint:vmlinux:sys_exit", "    struct pt_regs * regs", "    long int ret"]
    assert listed("-lv", "rawtracepoint:sys_exit") == raw
    event = "tracepoint:syscalls:sys_exit_read"
    assert listed("-lv", event) == [event, "    int __syscall_nr", "    long ret"]
    assert listed("-lv", "struct list_head") == [
        "vmlinux: struct list_head {",
        "\tstruct list_head *next;",
        "\tstruct list_head *prev;",
        "};",
        "",
    ]
    assert "get_kprobe" in [line.split("\t")[1] for line in listed("-l", "kprobes:blacklist")]


def test_scripts_are_checked_against_the_kernel(pyprobe: Callable[..., Result], kernel: store.Kernel) -> None:
    def refused(script: str, *words: str) -> str:
        done = pyprobe("--kernel", kernel.name, *words, "-e", script)
        assert done.status == 1 and "Traceback" not in done.err
        return done.err.splitlines()[0].partition("ERROR: ")[2]

    assert refused("kprobe:vfs_raed { }") == "No matches for kprobe vfs_raed."
    assert refused("fentry:vfs_read { print(args.nothing) }").startswith("Can't find function parameter nothing")
    wrong = refused("fentry:vfs_read { print(args.file->nothing) }")
    assert wrong == "Struct/union of type 'struct file' does not contain a field named 'nothing'"
    assert refused("fentry:get_kprobe { }") == "No matches for fentry get_kprobe."
    assert refused("kprobe:get_kprobe { }", "--faithful") == "No matches for kprobe get_kprobe."
