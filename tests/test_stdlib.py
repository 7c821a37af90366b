"""The library of macros: its own tests, its documentation, and that only scripts that use it pay for it."""

from __future__ import annotations

import os

import pytest

from pyprobe import stdlib
from pyprobe.cli import main
from pyprobe.lang import library
from pyprobe.lang.compiler import compile_program
from pyprobe.lang.source import Source


@pytest.mark.parametrize("file", library.files())
def test_own_tests(file: str, capfd: pytest.CaptureFixture[str]) -> None:
    status = main(["--test", os.path.join(stdlib.FOLDER, file)])
    out, err = capfd.readouterr()
    assert status == 0, out + err
    assert err == ""


def test_every_macro_has_a_test_and_a_comment() -> None:
    for name, files in library.index().items():
        assert library.documentation()[name].startswith(f"{name}("), name
        text = stdlib.text(files[0])
        assert text.count(f"{name}(") >= 3, f"{name} is not used by a test"


def test_parses_in_canonical_form() -> None:
    for name in library.index():
        assert all(macro.name == name for macro in library.macros(name))
        assert library.macros(name)


def test_read_only_when_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("the library is not used")

    monkeypatch.setattr(library, "index", refuse)
    compile_program(Source("stdin", 'macro m(x) { x + 1 } begin { print(m(1)); print((pid, nsecs(boot), strlen("a"))); exit(); }'))


def test_place_is_the_call() -> None:
    program = compile_program(Source("stdin", "begin { print(is_err(5)); }"))
    assert program.probes[0].body.statements
