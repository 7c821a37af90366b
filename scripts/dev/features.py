"""The table of features (tests/features.tsv): which case proves each, and whether that case is there."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

GROUPS = {
    "LEX": 6, "PRE": 5, "PRG": 10, "PRB": 19, "TYP": 15, "STM": 12, "OPR": 5, "MAP": 4, "AGG": 6, "MFN": 8,
    "BIV": 18, "FUN": 24, "CLI": 10,
}
"""How many features each group has."""

WAITING = "waiting"


class Feature(NamedTuple):
    """A feature: `place` is the file or folder of the case that proves it and `text` what the case has, or `waiting` and what for."""

    name: str
    meaning: str
    place: str
    text: str


def read(root: Path) -> list[Feature]:
    """The table, in order."""
    lines = (root / "tests" / "features.tsv").read_text(encoding="utf-8").splitlines()
    return [Feature(*line.split("\t")) for line in lines if line and not line.startswith("#")]


def unproved(root: Path) -> list[Feature]:
    """The features whose case is not there; those that wait do not count."""
    return [f for f in read(root) if f.place != WAITING and not _holds(root / f.place, f.text)]


def _holds(place: Path, text: str) -> bool:
    if place.is_file():
        return text in place.read_text(encoding="utf-8")
    found = (f for f in sorted(place.rglob("*")) if f.suffix in (".py", ".txt", ".tsv") and f.stem not in ("features", "test_features"))
    return any(text in file.read_text(encoding="utf-8") for file in found)
