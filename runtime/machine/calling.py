"""Where C functions have their arguments and their results: System V ABI, AMD64 Supplement, 3.2.3, and AAPCS64, 6.8.

The kernels follow both for functions of their own. The registers' names are bpftrace's.
"""

from __future__ import annotations

ARGUMENTS = {"x86_64": ("di", "si", "dx", "cx", "r8", "r9"), "arm64": tuple(f"r{i}" for i in range(8))}
RESULT = {"x86_64": "ax", "arm64": "r0"}
