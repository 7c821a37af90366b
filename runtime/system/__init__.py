"""The system machine: an unmodified distribution kernel, booted in the emulator."""
