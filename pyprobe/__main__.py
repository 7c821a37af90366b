"""`python -m pyprobe`."""

from pyprobe.cli import entry

entry()
