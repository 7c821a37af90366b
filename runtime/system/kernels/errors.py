"""The one error of this part: a line for the user."""

from __future__ import annotations


class KernelError(Exception):
    """A kernel that cannot be had, read or booted. The message is one line; `hint` says what to do about it, if anything can be."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
