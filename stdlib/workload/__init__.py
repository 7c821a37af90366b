"""The built-in workload: C source, the programs built from it, and the files they read."""
