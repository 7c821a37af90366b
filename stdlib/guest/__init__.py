"""What runs inside a booted guest kernel on our behalf: its first process, C source and the programs built from it."""
