"""What a target of a uprobe names: files by path, `$PATH`, the linker's cache and wildcards."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from pyprobe.runtime.machine.targets import TargetResolver, linker_cache


@pytest.fixture
def tree(compiled, tmp_path):
    program, library = compiled("calls.c"), compiled("library.c", "-shared", "-fPIC", output="libx.so")
    for place, source in {
        "bin/one": program,
        "bin/two": program,
        "lib/libx.so.1": library,
        "lib/libx.so.12": library,
        "one": program,
    }.items():
        (tmp_path / place).parent.mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / place)
    (tmp_path / "bin" / "text").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "link").symlink_to("one")
    return tmp_path


def resolver(tree, **more):
    return TargetResolver("x86_64", root=str(tree), cwd="/", search="/bin", **more)


def test_paths(tree):
    assert resolver(tree).resolve("/bin/one") == ["/bin/one"]
    assert resolver(tree).resolve("./one") == ["./one"]
    assert resolver(tree).resolve("bin/two") == ["bin/two"]
    for missing in ("/bin/text", "/bin/none", "/bin", "", "x\0y"):
        assert resolver(tree).resolve(missing) == []


def test_names_are_looked_up_in_the_path(tree):
    assert resolver(tree).resolve("two") == ["/bin/two"]
    assert resolver(tree).resolve("one") == ["one", "/bin/one"]


def test_wildcards_are_sorted_and_name_a_file_once(tree):
    assert resolver(tree).resolve("/bin/*") == ["/bin/link", "/bin/two"]
    assert resolver(tree).resolve("/b*n/t*") == ["/bin/two"]
    assert resolver(tree).resolve("/bin/[to]*") == []


def test_libraries_without_a_cache(tree):
    assert resolver(tree).resolve("libx") == ["/lib/libx.so.12"]
    assert resolver(tree).resolve("libx.so.1") == ["/lib/libx.so.1"]
    assert resolver(tree).resolve("liby") == []


def test_the_command(tree):
    assert resolver(tree, command="/lib/libx.so.1").resolve("libx.so.1") == ["/lib/libx.so.1"]


def test_a_star_is_the_command_and_its_libraries(compiled):
    library = compiled("library.c", "-shared", "-fPIC", "-Wl,-soname,libstar.so", output="libstar.so")
    program = compiled("library.c", "-DLIBRARY_USER", str(library), "-Wl,-rpath,$ORIGIN/../" + library.parent.name, output="star")
    found = TargetResolver("x86_64", command=str(program)).resolve("*")
    assert [os.path.basename(p).partition(".")[0] for p in found] == ["star", "ld-linux-x86-64", "libstar", "libc"]
    assert TargetResolver("x86_64").resolve("*") == []


def test_linker_cache_agrees_with_ldconfig(tool, monkeypatch):
    monkeypatch.setenv("PATH", "/sbin:/usr/sbin")
    ldconfig = tool("ldconfig")
    lines = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()[1:]
    expected = [(line.split()[0], line.split()[-1]) for line in lines if "(libc6,x86-64)" in line]
    assert list(linker_cache("/etc/ld.so.cache", "x86_64")) == expected


def test_damaged_linker_cache(tmp_path):
    with open("/etc/ld.so.cache", "rb") as stream:
        whole = stream.read()
    for n in (0, 10, 40, 200, len(whole) // 2):
        path = tmp_path / f"cache{n}"
        path.write_bytes(whole[:n])
        assert isinstance(linker_cache(os.fspath(path), "x86_64"), tuple)
