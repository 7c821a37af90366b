"""The kernel's own events: its tracepoints, its software events, its lists."""
