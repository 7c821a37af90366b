"""The events of the software and hardware providers, with their default sample periods, and the short names of some."""

from __future__ import annotations

SOFTWARE = {
    "alignment-faults": 1,
    "bpf-output": 1,
    "context-switches": 1000,
    "cpu-clock": 1_000_000,
    "cpu-migrations": 1,
    "dummy": 1,
    "emulation-faults": 1,
    "major-faults": 1,
    "minor-faults": 100,
    "page-faults": 100,
    "task-clock": 1,
}
HARDWARE = {
    "backend-stalls": 1_000_000,
    "branch-instructions": 100_000,
    "branch-misses": 100_000,
    "bus-cycles": 100_000,
    "cache-misses": 1_000_000,
    "cache-references": 1_000_000,
    "cpu-cycles": 1_000_000,
    "frontend-stalls": 1_000_000,
    "instructions": 1_000_000,
    "ref-cycles": 1_000_000,
}
EVENT_ALIASES = {
    "cs": "context-switches",
    "cpu": "cpu-clock",
    "faults": "page-faults",
    "branches": "branch-instructions",
    "cycles": "cpu-cycles",
}
