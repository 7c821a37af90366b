"""Kernels to test with: those that `pyprobe kernel install` has put into the user's cache."""

from __future__ import annotations

import pytest

from pyprobe.runtime.system.kernels import store
from pyprobe.runtime.system.kernels.errors import KernelError
from pyprobe.runtime.system.metadata.facts import Facts


@pytest.fixture(scope="session", params=store.DISTRIBUTED)
def kernel(request: pytest.FixtureRequest) -> store.Kernel:
    """Each of the distribution's kernels; the test is skipped for one that is not installed (a failure in the gate)."""
    try:
        return store.find(request.param)
    except KernelError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def facts(kernel: store.Kernel) -> Facts:
    """What the kernel tells about itself."""
    return Facts.of(kernel)
