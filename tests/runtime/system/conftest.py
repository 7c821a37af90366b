"""Kernels for the tests: those that the user has installed. One that is missing is a missing tool: `pyprobe kernel install` gets it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

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


COMPILERS = {"arm64": "aarch64-linux-gnu-gcc", "x86_64": "x86_64-linux-gnu-gcc"}


@pytest.fixture
def guest(kernel: Kernel, root: Path, pyprobe):  # type: ignore[no-untyped-def]  # a fixture that returns a function
    """`guest("ls /")` runs a command in the guest, nothing probed unless a script is given; a Result."""

    def run(command: str, *options: str, script: str = "begin { }", **keywords: object):  # type: ignore[no-untyped-def]  # a Result
        return pyprobe("-q", "--kernel", kernel.name, "--root", str(root), *options, "-e", script, "-c", command, **keywords)

    return run
