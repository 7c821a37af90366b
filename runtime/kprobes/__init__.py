"""Kprobes, kretprobes and uprobes as the kernel offers them to its modules: structs, rules and errors of include/linux/kprobes.h."""
