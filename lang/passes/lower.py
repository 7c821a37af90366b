"""The checked unit becomes the Program that the runtime receives: its maps, and one entry for every attach point."""

from __future__ import annotations

from pyprobe.lang import nodes as n
from pyprobe.lang.passes.casts import final
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.program import MapInfo, ProbeBody, Program
from pyprobe.lang.typesys import INT64, NONE, Aggregate

_PER_CPU = ("percpuhash", "percpulruhash")


def run(unit: Unit) -> None:
    """Build `unit.program`."""
    unit.maps = _maps(unit)
    probes = [ProbeBody(point, body.block, body.index, body.span) for body in unit.bodies for point in body.points]
    unit.program = Program(probes, unit.maps, unit.config, unit.script.levels)


def _maps(unit: Unit) -> dict[str, MapInfo]:
    assert unit.inference is not None
    declared = {item.map.name: item for item in unit.script.items if isinstance(item, n.MapDeclaration)}
    maps: dict[str, MapInfo] = {}
    for state in unit.inference.maps.values():
        if state.value is NONE:
            continue
        value = final(state.value)
        key = None if state.scalar is not False else final(state.key)
        declaration = declared.get(state.name)
        kind = "percpuhash" if isinstance(value, Aggregate) else "hash"
        capacity = unit.config.max_map_keys
        if declaration is not None:
            if (declaration.kind in _PER_CPU) != isinstance(value, Aggregate):
                kinds = f"Type from declaration: {declaration.kind}. Type from value/key type: {kind}"
                unit.diagnostics.error(f"Incompatible map types. {kinds}", state.span)
            kind, capacity = declaration.kind, declaration.capacity
        maps[state.name] = MapInfo(state.name, INT64 if key is NONE else key, value, kind, capacity)
    for name, declaration in declared.items():
        if name not in unit.inference.maps:
            unit.diagnostics.warning(f"Unused map: {name}", declaration.span)
    return maps
