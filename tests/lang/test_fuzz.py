"""A bounded number of the inputs that scripts/dev/fuzz makes, and every kind of nesting at every size."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from pyprobe.scripts.dev import fuzzing

SCRIPTS = Path(__file__).parents[2] / "scripts"
SEVERAL = 4  # times the usual time: other tests run at the same time


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_made_up_and_damaged(seed: int) -> None:
    for text in itertools.islice(fuzzing.inputs(seed, SCRIPTS), 300):
        assert fuzzing.problem(text, SEVERAL * fuzzing.SECONDS) == "", text


@pytest.mark.parametrize("number", range(len(fuzzing.NESTED)))
def test_nesting(number: int) -> None:
    for depth in (3, 190, 2000):
        text = fuzzing.NESTED[number](depth)
        assert fuzzing.problem(text, SEVERAL * fuzzing.SECONDS) == "", (depth, text[:100])
