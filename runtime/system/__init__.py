"""The system machine: an unmodified Linux kernel, booted in an emulated computer of one processor."""
