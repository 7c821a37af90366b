"""How long the front end may take once it is loaded: bounds far above what it needs, so that they hold on a busy machine."""

from __future__ import annotations

import time

from pyprobe.lang import check
from tests.lang.worlds import TableWorld

ONE_LINER = 'tracepoint:syscalls:sys_enter_read /pid > 1/ { @[comm, args.fd] = count(); printf("%s %d\\n", comm, args.count); }'
LINES = "".join(f'  if ($x > {n}) {{ @m{n}[comm, $x] = count(); printf("%d %s\\n", $x + {n}, comm); }}\n' for n in range(98))
SCRIPT = f"begin {{\n  $x = nsecs;\n{LINES}}}\n"


def best(text: str, rounds: int) -> float:
    """Seconds of processor time, the best of some rounds."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        assert check(text, world=TableWorld()) == []
        times.append(time.process_time() - began)
    return min(times)


def test_one_liner() -> None:
    assert best(ONE_LINER, 20) < 0.005


def test_hundred_lines() -> None:
    assert len(SCRIPT.splitlines()) > 100
    assert best(SCRIPT, 5) < 0.1
