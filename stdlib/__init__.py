"""What comes with pyprobe as files: the language's library of macros, the kernel's declarations and tables, the guests' programs."""

import os

FOLDER = os.path.dirname(os.path.realpath(__file__))


def read(*name: str) -> bytes:
    """The content of a file, by the parts of its path. (`importlib.resources` would be a fifth of the time a run needs to start.)"""
    with open(os.path.join(FOLDER, *name), "rb") as file:
        return file.read()


def text(*name: str) -> str:
    """The same as text."""
    return read(*name).decode()
