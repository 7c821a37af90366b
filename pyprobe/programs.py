"""Where program texts come from: -e, a file, standard input, the packaged scripts."""

from __future__ import annotations

import os
import sys

from pyprobe.options import Options, UsageError


def read_program(options: Options) -> tuple[str, str, list[str]]:
    """The source name for messages, the program text, and the positional parameters."""
    words = options.words[:]
    if options.program is not None:
        return "stdin", options.program, words
    name = words.pop(0)
    if name == "-":
        return "stdin", decode(sys.stdin.buffer.read()), words
    path = name if os.path.exists(name) or "/" in name else packaged_script(name) or name
    try:
        with open(path, "rb") as file:
            return name, decode(file.read()), words
    except OSError as error:
        raise UsageError(f"failed to open file '{name}': {error.strerror}", prefix="ERROR: ") from None


def decode(data: bytes) -> str:
    """Program text from bytes; what is not UTF-8 survives as it is."""
    return data.decode("utf-8", "surrogateescape")


def packaged_script(name: str) -> str | None:
    """The path of a script that comes with pyprobe, by bare name with or without `.pt`."""
    folder = os.path.join(os.path.dirname(os.path.realpath(__file__)), "scripts")
    if not os.path.isdir(folder):
        folder = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "scripts")
    for candidate in (name, name + ".pt"):
        path = os.path.join(folder, candidate)
        if candidate.endswith(".pt") and os.path.isfile(path):
            return path
    return None
