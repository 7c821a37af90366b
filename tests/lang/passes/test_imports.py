"""Imports: what they bring, in which order, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyprobe.lang.compiler import compile_program
from pyprobe.lang.diagnostics import CompileError, Diagnostics, render
from pyprobe.lang.dump import tree
from pyprobe.lang.program import Program
from pyprobe.lang.source import Source

FILES = {
    "a.bt": 'macro one() { 1 }\nbegin { printf("a begin"); }\nend { printf("a end"); }\nlet @im = hash(5);\nbegin { @im[1] = 1; }\n',
    "types.h": "struct foo { int x; long y; };\n#define THREE 3\n",
    "c.bt": "struct bar { int q; };\nmacro size_of_bar() { sizeof(struct bar) }\n",
    "dir/b.bt": 'import "d.pt";\nbegin { printf("b"); }\n',
    "dir/d.pt": 'begin { printf("d"); }\n',
    "dir/readme.txt": "nothing\n",
    "dir/inner/x.bt": 'begin { printf("inner"); }\n',
    "config.bt": "config = { max_map_keys = 3 }\n",
    "syntax.bt": "macro two( { 2 }\n",
    "wrong.bt": "begin { print($x); }\n",
    "more.bpf.c": "int f(int a) { return a; }\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        for made in (file, file.parent):
            made.chmod(0o755 if made.is_dir() else 0o644)
    return tmp_path


def compiled(folder: Path, text: str) -> tuple[Program, list[str]]:
    found = Diagnostics()
    (folder / "main.bt").write_text(text)
    program = compile_program(Source(str(folder / "main.bt"), text), diagnostics=found)
    return program, [d.message for d in found]


def failing(folder: Path, text: str) -> list[str]:
    with pytest.raises(CompileError) as caught:
        compiled(folder, text)
    return [line.replace(f"{folder}/", "") for d in caught.value.diagnostics.ordered() for line in render(d).splitlines()]


def order(program: Program) -> list[str]:
    return [tree(probe.body).split("value=b'")[1].split("'")[0] for probe in program.probes if "String" in tree(probe.body)]


def test_script(folder: Path) -> None:
    program, messages = compiled(folder, 'import "a.bt"; begin { printf("main"); print(one()); } end { printf("main end"); }')
    assert order(program) == ["a begin", "a end", "main", "main end"]
    assert program.maps["@im"].capacity == 5
    assert messages == []


def test_repeated(folder: Path) -> None:
    program, _ = compiled(folder, 'import "a.bt"; import "./a.bt"; import "main.bt"; begin { print(one); }')
    assert order(program) == ["a begin", "a end"]


def test_directory(folder: Path) -> None:
    program, _ = compiled(folder, 'import "dir"; begin { printf("main"); }')
    assert order(program) == ["d", "b", "main"]


def test_header(folder: Path) -> None:
    program, _ = compiled(folder, 'import "types.h"; begin { print((THREE, sizeof(struct foo))); }')
    shown = tree(program.probes[0].body)
    assert "value=3" in shown
    assert "value=16" in shown


def test_c_section(folder: Path) -> None:
    program, _ = compiled(folder, 'struct baz { int a; int b; } import "c.bt"; begin { print((size_of_bar(), sizeof(struct baz))); }')
    shown = tree(program.probes[0].body)
    assert "value=4" in shown
    assert "value=8" in shown


def test_library(folder: Path) -> None:
    assert order(compiled(folder, 'import "stdlib"; begin { printf("main"); }')[0]) == ["main"]
    assert failing(folder, 'import "stdlib/nosuch.pt"; begin { }')[0] == ("main.bt:1:1-26: ERROR: Unable to find suitable path for import")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            'import "nosuch.bt"; begin { }',
            [
                "main.bt:1:1-19: ERROR: Unable to find suitable path for import",
                'import "nosuch.bt"; begin { }',
                "~~~~~~~~~~~~~~~~~~",
                "HINT: checked: nosuch.bt",
            ],
        ),
        ('import "config.bt"; begin { }', ["config.bt:1:1-30: ERROR: invalid `config` within import"]),
        (
            'import "syntax.bt"; begin { }',
            ["syntax.bt:1:12-13: ERROR: syntax: expected macro argument ($var, @map, or identifier)", "macro two( { 2 }", " " * 11 + "~"],
        ),
        (
            'import "wrong.bt"; begin { }',
            [
                "wrong.bt:1:15-17: ERROR: Undefined or undeclared variable: $x",
                "begin { print($x); }",
                " " * 14 + "~~",
                "main.bt:1:1-18: ERROR: expanded from",
            ],
        ),
        ('import "dir/readme.txt"; begin { }', ['main.bt:1:1-24: ERROR: unknown import type: "readme.txt"']),
        ('import "more.bpf.c"; begin { }', ['main.bt:1:1-20: ERROR: functions written in C cannot be imported: "more.bpf.c"']),
        (
            'import "a.bt"; macro one() { 3 } begin { }',
            [
                "main.bt:1:16-25: ERROR: Redefinition of macro: one",
            ],
        ),
        (
            'begin { import "a.bt"; }',
            [
                "main.bt:1:9-22: ERROR: Import statements that are not at the top level are primarily for the standard library. "
                "If this is functionality you need, please file an issue to explain why."
            ],
        ),
        (
            'config = { unstable_import_statement=enable } begin { import "a.bt"; }',
            [
                "main.bt:1:55-68: ERROR: Import statements that are not at the root are limited to specific object (.o), header (.h), "
                "or C source (.c or bpf.c) files"
            ],
        ),
    ],
)
def test_refused(folder: Path, text: str, lines: list[str]) -> None:
    assert failing(folder, text)[: len(lines)] == lines


def test_statement(folder: Path) -> None:
    text = 'config = { unstable_import_statement=warn } begin { import "types.h"; print(sizeof(struct foo)); }'
    program, messages = compiled(folder, text)
    assert "value=16" in tree(program.probes[0].body)
    assert messages == [
        "Script is using an unstable feature: import statements. To prevent this warning you must explicitly enable it in the config "
        "e.g. unstable_import_statement=enable"
    ]


@pytest.mark.parametrize("opened", [".", "a.bt"])
def test_writable_by_all(folder: Path, opened: str) -> None:
    (folder / opened).chmod(0o777)
    lines = failing(folder, 'import "a.bt"; begin { }')
    assert lines[0] == "main.bt:1:1-14: ERROR: Unable to find suitable path for import"
    assert 'main.bt:1:1-14: WARNING: skipping due to global write permissions: "a.bt"' in lines
