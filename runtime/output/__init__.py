"""Writers of events."""

from pyprobe.runtime.output.base import Output
from pyprobe.runtime.output.json import JsonOutput
from pyprobe.runtime.output.text import TextOutput

__all__ = ["FORMATS", "JsonOutput", "Output", "TextOutput"]

FORMATS: dict[str, type[Output]] = {"text": TextOutput, "json": JsonOutput}
"""The values of `-f`."""
