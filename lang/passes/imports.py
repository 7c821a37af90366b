"""Imports of other scripts, headers and directories merge into the script here, before anything is checked.

A path is looked up from the folder of the script that imports it, then from that of the program. Files and folders that everybody may
write to are passed over. `.bt` and `.pt` files bring their clauses, macros, functions and map declarations, which come before those of
the importer, in the order of the imports; their C sections follow the importer's. `.h` files bring types, constants and C macros. Of a
folder the supported files count, by name, one level. `stdlib/NAME` is checked to exist and brings nothing more, because the library's
macros are always at hand. The second import of a file is ignored.
"""

from __future__ import annotations

import os
import stat

from pyprobe.lang import library
from pyprobe.lang.nodes import Import, ImportStatement, Item, Node, Probe, Script
from pyprobe.lang.parser import parse
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import descend
from pyprobe.lang.source import Source, Span

SCRIPTS, HEADERS = (".bt", ".pt"), (".h",)
NATIVE = (".bpf.c", ".c", ".o")
NOT_AT_ROOT = "Import statements that are not at the root are limited to specific object (.o), header (.h), or C source (.c or bpf.c) files"


def run(unit: Unit) -> None:
    importer = _Importer(unit)
    importer.imports(unit.script, unit.source.name)
    if unit.config.unstable_import_statement != "error":  # else it is the check for unstable features that refuses them
        for item in list(unit.script.items):
            for node in descend(item):
                if isinstance(node, ImportStatement):
                    importer.statement(node)


class _Importer:
    """The imports of one program; `_seen` holds the real paths of what was imported."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._diagnostics = unit.diagnostics
        self._root = os.path.dirname(unit.source.name)
        self._seen: set[str] = set()
        if os.path.isfile(unit.source.name):
            self._seen.add(os.path.realpath(unit.source.name))

    def imports(self, script: Script, name: str) -> None:
        """Merge what a script called `name` imports into it."""
        items: list[Item] = []
        for node in script.imports:
            items += self._import(node, os.path.dirname(name))
        script.items[:0] = items

    def statement(self, node: ImportStatement) -> None:
        """An import inside a clause, which may only bring a header."""
        if node.path.endswith(HEADERS):
            self._import(node, os.path.dirname(node.span.source.name))
        else:
            self._diagnostics.error(NOT_AT_ROOT, node.span)

    def _import(self, node: Import | ImportStatement, folder: str) -> list[Item]:
        if library.is_name(node.path):
            if not library.exists(node.path):
                self._missing(node)
            return []
        refused = False
        for base in dict.fromkeys((folder, self._root)):
            path = os.path.join(base, node.path) if node.path else ""
            if os.path.exists(path):
                if not _writable_by_all(path):
                    return self._directory(node, path) if os.path.isdir(path) else self._file(node, path)
                refused = True
        self._missing(node)
        if refused:
            self._diagnostics.warning(f'skipping due to global write permissions: "{node.path}"', node.span)
        return []

    def _missing(self, node: Import | ImportStatement) -> None:
        self._diagnostics.error("Unable to find suitable path for import", node.span).hint(f"checked: {node.path}")

    def _directory(self, node: Import | ImportStatement, path: str) -> list[Item]:
        items: list[Item] = []
        for name in sorted(os.listdir(path)):
            inside = os.path.join(path, name)
            if name.endswith((*SCRIPTS, *HEADERS)) and os.path.isfile(inside):
                if _writable_by_all(inside):
                    self._diagnostics.warning(f'skipping due to global write permissions: "{inside}"', node.span)
                else:
                    items += self._file(node, inside)
        return items

    def _file(self, node: Import | ImportStatement, path: str) -> list[Item]:
        real = os.path.realpath(path)
        if real in self._seen:
            return []
        self._seen.add(real)
        if path.endswith(HEADERS):
            self._unit.headers.append(real)
        elif path.endswith(SCRIPTS):
            return self._script(node, path)
        elif path.endswith(NATIVE):
            self._diagnostics.error(f'functions written in C cannot be imported: "{os.path.basename(path)}"', node.span)
        else:
            self._diagnostics.error(f'unknown import type: "{os.path.basename(path)}"', node.span)
        return []

    def _script(self, node: Import | ImportStatement, path: str) -> list[Item]:
        try:
            with open(path, "rb") as file:
                text = file.read().decode("utf-8", "surrogateescape")
        except OSError:
            self._missing(node)
            return []
        script = parse(Source(path, text), self._diagnostics)
        if script is None:
            return []
        if script.config is not None:
            self._diagnostics.error("invalid `config` within import", script.config_span)
            return []
        for root in (*script.imports, *script.items):
            _lead_back(root, node.span)
        self.imports(script, path)
        self._unit.script.levels = max(self._unit.script.levels, script.levels)
        if script.c_section.strip():
            self._unit.script.c_section += "\n" + script.c_section
        return script.items


def _writable_by_all(path: str) -> bool:
    """Whether everybody may change a file or the folder that it is in."""
    folder = path if os.path.isdir(path) else os.path.dirname(path) or "."
    return any(os.stat(p).st_mode & stat.S_IWOTH for p in (path, folder))


def _lead_back(root: Node, to: Span) -> None:
    """Let every place in a tree lead back to the import."""
    for node in descend(root):
        for name, value in vars(node).items():
            if isinstance(value, Span):
                setattr(node, name, Span(value.source, value.start, value.end, to))
        if isinstance(node, Probe):
            for point in node.points:
                point.span = Span(point.span.source, point.span.start, point.span.end, to)
