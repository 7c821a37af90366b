"""Kernels for the tests: those that the user has installed. One that is missing is a missing tool: `pyprobe kernel install` gets it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from pyprobe.runtime.machine.targets import TargetResolver
from pyprobe.runtime.system.description import SystemDescription
from pyprobe.runtime.system.kernels import store
from pyprobe.runtime.system.kernels.errors import KernelError
from pyprobe.runtime.system.kernels.store import Kernel
from pyprobe.runtime.system.metadata.facts import Facts


def installed(name: str) -> Kernel:
    """A kernel by its name; the test is skipped where it is not installed."""
    try:
        return store.find(name)
    except KernelError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session", params=store.DISTRIBUTED)
def kernel(request: pytest.FixtureRequest) -> Kernel:
    """Each kernel that has a name of its own."""
    return installed(request.param)


@pytest.fixture(scope="session")
def facts(kernel: Kernel) -> Facts:
    """What the kernel tells about itself."""
    return Facts.of(kernel)


@pytest.fixture
def root(kernel: Kernel, tmp_path: Path) -> Path:
    """A root of that kernel's architecture that a test may add to: busybox and its names."""
    if kernel.root is None:
        pytest.skip(f"kernel {kernel.name} was installed without a root: pyprobe kernel install {kernel.name}")
    folder = tmp_path / "root"
    shutil.copytree(kernel.root, folder, symlinks=True)
    return folder


def with_second_instructions(kernel: Kernel, text: str) -> str:
    """`text`, with the offset for each FUNCTION+SECOND: that of the instruction after the place for a call with which functions begin,
    behind a landing pad, where there is one."""
    known = SystemDescription(kernel, TargetResolver(kernel.arch))

    def place(found: re.Match[str]) -> str:
        landing = kernel.arch == "x86_64" and known.code(known.symbols[found[1]], 4) == ENDBR
        return f"{found[1]}+{8 if kernel.arch == 'arm64' else 9 if landing else 5}"

    return re.sub(r"(\w+)\+SECOND", place, text)


ENDBR = b"\xf3\x0f\x1e\xfa"
COMPILERS = {"arm64": "aarch64-linux-gnu-gcc", "x86_64": "x86_64-linux-gnu-gcc"}


@pytest.fixture
def guest(kernel: Kernel, root: Path, pyprobe):  # type: ignore[no-untyped-def]  # a fixture that returns a function
    """`guest("ls /")` runs a command in the guest, nothing probed unless a script is given; a Result."""

    def run(command: str, *options: str, script: str = "begin { }", **keywords: object):  # type: ignore[no-untyped-def]  # a Result
        return pyprobe("-q", "--kernel", kernel.name, "--root", str(root), *options, "-e", script, "-c", command, **keywords)

    return run
