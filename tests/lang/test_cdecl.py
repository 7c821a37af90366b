"""C declarations become types: sizes, offsets, bit-fields and names as the C compiler lays them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyprobe.lang import cdecl
from pyprobe.lang.cdecl import Declarations
from pyprobe.lang.passes.csection import KernelNames
from pyprobe.lang.passes.types import TypeTable
from pyprobe.lang.typesys import Struct
from pyprobe.lang.world import NoWorld
from tests.lang.worlds import TASK, TableWorld

KERNEL = KernelNames(TypeTable(TableWorld()))
TEXT = """
#include <stddef.h>
#define ONE (1 /* c */ + TWO)
#define TWO 2 3
#define EMPTY
#define CALL(x) x
enum color { RED, GREEN = 5, LIME = 5 };
enum { ANONYMOUS = 7 };
struct inner { int q; };
struct plain {
  size_t a; signed char c; _Bool b; char name[16]; unsigned short h;
  struct { int x; union { int y; char z; }; };
  int (*function)(int); struct inner in; struct task_struct *task; enum color e; float f;
  int table[2][3]; char names[2][8]; u32 typedefed; long tail[];
};
struct bits { int a : 3; unsigned b : 5; int c : 30; } ;
struct __attribute__((packed)) tight { char c; int i; int b : 20; unsigned long l : 40; };
struct aligned { char c; } __attribute__((aligned(16)));
union u { int i; char text[3]; };
"""


@pytest.fixture(scope="module")
def declared() -> Declarations:
    return cdecl.parse(TEXT, "x86_64", KERNEL)


def _fields(declared: Declarations, name: str) -> list[tuple[str, str, int]]:
    struct = declared.tags[name]
    assert isinstance(struct, Struct)
    return [(f.name, str(f.type), f.offset) for f in struct.fields.values()]


def test_members(declared: Declarations) -> None:
    assert _fields(declared, "struct plain") == [
        ("a", "uint64", 0),
        ("c", "int8", 8),
        ("b", "uint8", 9),
        ("name", "string[17]", 10),
        ("h", "uint16", 26),
        ("x", "int32", 28),
        ("y", "int32", 32),
        ("z", "int8", 32),
        ("function", "none *", 40),
        ("in", "struct inner", 48),
        ("task", "struct task_struct *", 56),
        ("e", "enum color", 64),
        ("f", "none", 68),
        ("table", "int32[3][2]", 72),
        ("names", "int8[8][2]", 96),
        ("typedefed", "uint32", 112),
        ("tail", "none", 120),
    ]
    assert declared.tags["struct plain"].size == 120


def test_a_struct_that_is_only_named_is_the_machines(declared: Declarations) -> None:
    plain = declared.tags["struct plain"]
    assert isinstance(plain, Struct)
    assert plain.fields["task"].type.to is TASK  # type: ignore[attr-defined]  # it is a pointer, as the test above says


def test_bit_fields(declared: Declarations) -> None:
    bits, tight = declared.tags["struct bits"], declared.tags["struct tight"]
    assert isinstance(bits, Struct)
    assert isinstance(tight, Struct)
    assert [(f.name, f.offset, f.bits) for f in bits.fields.values()] == [("a", 0, (0, 3)), ("b", 0, (3, 5)), ("c", 4, (0, 30))]
    assert [(f.name, f.offset, f.bits) for f in tight.fields.values()][2:] == [("b", 4, (8, 20)), ("l", 7, (4, 40))]


def test_attributes_and_unions(declared: Declarations) -> None:
    assert (declared.tags["struct aligned"].size, declared.tags["union u"].size) == (16, 4)


def test_enums(declared: Declarations) -> None:
    assert {name: value for name, (value, _) in declared.constants.items()} == {"RED": 0, "GREEN": 5, "LIME": 5, "ANONYMOUS": 7}
    color = declared.constants["GREEN"][1]
    assert (str(color), color.size, color.names) == ("enum color", 8, {0: "RED", 5: "GREEN"})


def test_macros(declared: Declarations) -> None:
    assert declared.macros(["ONE", "EMPTY", "CALL", "nothing"]) == {"ONE": "(1+TWO)", "TWO": "23", "CALL": "(x)x"}


@pytest.mark.parametrize(
    ("text", "line", "missing"),
    [
        ("#include <nosuch.h>", "definitions.h:2:10: fatal error: 'nosuch.h' file not found", False),
        ("struct a { foo_t x; };", "definitions.h:2:12: error: unknown type name 'foo_t'", True),
    ],
)
def test_errors(text: str, line: str, missing: bool) -> None:
    with pytest.raises(cdecl.CError) as caught:
        cdecl.parse(text, "x86_64", KERNEL)
    assert (caught.value.lines, caught.value.missing_types) == ([line], missing)


def test_an_error_in_a_header_is_one_line(tmp_path: Path) -> None:
    header = tmp_path / "bad.h"
    header.write_text("#define FIELD nosuch x;\nstruct bad { FIELD };\n")
    for text, files in (('#include "bad.h"', []), ("", [str(header)])):
        with pytest.raises(cdecl.CError) as caught:
            cdecl.parse(text, "x86_64", KERNEL, include_paths=[str(tmp_path)], include_files=files)
        assert len(caught.value.lines) == 1
        assert caught.value.lines[0].startswith(f"{header}:")
        assert caught.value.lines[0].endswith("error: unknown type name 'nosuch'")


def test_a_warning_is_shown_with_an_error_only() -> None:
    cdecl.parse("#warning careful", "x86_64", KERNEL)
    with pytest.raises(cdecl.CError) as caught:
        cdecl.parse('#include "nosuch.h', "x86_64", KERNEL)
    assert caught.value.lines == [
        "definitions.h:2:10: warning: missing terminating '\"' character [-Winvalid-pp-token]",
        'definitions.h:2:10: error: expected "FILENAME" or <FILENAME>',
    ]


def test_architecture() -> None:
    text = "#ifdef __TARGET_ARCH_arm64\n#define A 1\n#endif\n#ifdef __aarch64__\n#define B 2\n#endif\n"
    assert cdecl.parse(text, "arm64", KernelNames(TypeTable(NoWorld()))).macros(["A", "B"]) == {"A": "1", "B": "2"}


def test_what_the_kernel_defines_can_be_a_member() -> None:
    text = """struct task_struct;
        struct a { char c; struct task_struct task; enum color paint; int table[GREEN + 1]; };"""
    declared = cdecl.parse(text, "x86_64", KERNEL)
    members = [("c", "int8", 0), ("task", "struct task_struct", 4), ("paint", "enum color", 12), ("table", "int32[2]", 16)]
    assert _fields(declared, "struct a") == members
    assert list(declared.tags) == ["struct a"]
    assert declared.constants == {}


def test_a_struct_without_members_defines_nothing() -> None:
    assert list(cdecl.parse("struct a { struct b { int c; }; };", "x86_64", KERNEL).tags) == ["struct b"]


def test_typedefs_of_the_kernels_headers_are_there_without_them() -> None:
    """linux/types.h counts as included, and what it would define is supplied."""
    text = """#include <linux/types.h>
        struct a { __aligned_u64 u; __be16 port; __kernel_loff_t at; __wsum sum; };"""
    declared = cdecl.parse(text, "x86_64", KERNEL)
    fields = [("u", "uint64", 0), ("port", "uint16", 8), ("at", "int64", 16), ("sum", "uint32", 24)]
    assert _fields(declared, "struct a") == fields
