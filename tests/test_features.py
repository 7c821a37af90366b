"""Every feature of the language has a case that proves it, listed in features.tsv, or says what it waits for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pyprobe.scripts.dev.features import GROUPS, read, unproved

ROOT = Path(__file__).parent.parent


def test_every_feature_is_proved_or_waits() -> None:
    assert [f"{f.name}: {f.place}: {f.text}" for f in unproved(ROOT)] == []


def test_none_is_missing() -> None:
    names = [feature.name for feature in read(ROOT)]
    assert names == [f"{group}-{number:02}" for group, count in GROUPS.items() for number in range(1, count + 1)]


def test_the_command_prints_the_share() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "scripts/dev/coverage")], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].endswith("%")
