"""Kernels for tests that boot one: those that are installed, or the test is skipped, which is a failure in the gate."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyprobe.runtime.system.kernels import store
from pyprobe.runtime.system.kernels.errors import KernelError

NAMES = {"arm64": "debian-arm64", "x86_64": "debian-amd64"}


@pytest.fixture(scope="session")
def kernel() -> Callable[[str], store.Kernel]:
    """`kernel("arm64")` is the installed kernel of an architecture."""

    def find(arch: str) -> store.Kernel:
        try:
            return store.find(NAMES[arch])
        except KernelError as error:
            pytest.skip(f"needs a kernel: {error}")

    return find
