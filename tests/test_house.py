"""The house itself: which way imports point, strict tools, what a built package holds."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

# what each part may import of ours; `lang` knows nobody, `runtime` knows the language, the door knows all
ARROWS = {
    "lang": {"lang", "stdlib"},
    "runtime": {"lang", "runtime", "stdlib"},
    "stdlib": {"stdlib"},
    "pyprobe": {"lang", "runtime", "stdlib", "scripts", "repl", "*"},
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "pyprobe" else [f"pyprobe.{a.name}" for a in node.names]
        found |= {n for n in names if n.startswith("pyprobe.")}
    return found


@pytest.mark.parametrize("part", ["lang", "runtime", "stdlib"])
def test_imports_point_one_way(part: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / part).rglob("*.py"))
        for name in imports(path)
        if name.split(".")[1] not in ARROWS[part] and name != "pyprobe.version"
    ]
    assert wrong == []


def test_only_the_engine_calls_unicorn() -> None:
    """The engine with its callbacks, and the table of the library's functions: nobody else calls one."""
    both = ("emulator", "contexts", "engine", "unicorn", "twin", "cpu_state", "arm64", "x86_64")
    allowed = {f"runtime/machine/{name}.py" for name in both}
    system = ("cpu", "x86_64", "arm64", "coherence", "internals", "twin", "snapshot")  # the same rooms of the system machine
    allowed |= {f"runtime/system/{name}.py" for name in system}
    users = {
        path.relative_to(ROOT).as_posix()
        for part in ("lang", "runtime")
        for path in (ROOT / part).rglob("*.py")
        if re.search(r"\.uc_\w+\(", path.read_text())
    }
    assert users <= allowed


def test_bare_names_are_never_imported() -> None:
    code = "import sys, pyprobe.cli, pyprobe.runtime.session; print({'lang', 'runtime', 'stdlib'} & set(sys.modules))"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", env=env, check=True, timeout=60)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("command", [["ruff", "check", "."], ["mypy"]], ids=["ruff", "mypy"])
def test_strict_tools_are_clean(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wheel_holds_everything_and_runs(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(ROOT)], check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    listing = ["git", "ls-files", "lang", "runtime", "stdlib", "scripts"]
    tracked = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout.split()
    missing = [
        n
        for n in tracked
        if not n.startswith("scripts/dev/") and not n.endswith(".gitignore") and "/_native" not in n and f"pyprobe/{n}" not in names
    ]
    assert tracked and missing == []
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True, capture_output=True, timeout=300)
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-m", "pyprobe", "-e", "kprobe:do_fork { @[comm] = count(); }"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "@[session]: 10" in done.stdout
