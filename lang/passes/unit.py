"""What the passes work on: one script on its way from the parser to a Program, with what is known about its surroundings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pyprobe.lang.attachpoint import AttachPoint, NoMatch
from pyprobe.lang.config import Config
from pyprobe.lang.diagnostics import Diagnostics
from pyprobe.lang.nodes import Block, Function, Script
from pyprobe.lang.passes.types import TypeTable
from pyprobe.lang.program import MapInfo, Program
from pyprobe.lang.source import Source, Span
from pyprobe.lang.world import World

if TYPE_CHECKING:
    from pyprobe.lang.passes.infer import Inference


MOST_EXPANDED = 50_000  # nodes; macros that double their argument reach any size with a few calls


class Options:
    """What the caller decides, apart from the text.

    `params` are the positional parameters, `named` the words of the command line that begin with two dashes (`--top=5`) and are meant
    for getopt(); `include_dirs` and `include_files` go to the C front end; `environ` is searched for `BPFTRACE_` settings.
    """

    __slots__ = ("environ", "include_dirs", "include_files", "named", "params", "unsafe")

    def __init__(
        self,
        *,
        params: Sequence[str] = (),
        named: Sequence[str] = (),
        unsafe: bool = False,
        include_dirs: Sequence[str] = (),
        include_files: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.params = list(params)
        self.named = list(named)
        self.unsafe = unsafe
        self.include_dirs = list(include_dirs)
        self.include_files = list(include_files)
        self.environ = environ if environ is not None else {}


class NamedParameter:
    """A parameter that getopt() declares: its default, which decides its type, and the value for this run. `mistake` says what is
    wrong with the value that the command line gives."""

    __slots__ = ("default", "description", "mistake", "name", "value")

    def __init__(self, name: str, default: bool | int | bytes, description: str) -> None:
        self.name = name
        self.default = self.value = default
        self.description = description
        self.mistake = ""


class Body:
    """One block to be compiled, for all the attach points it serves.

    The points share it because nothing in the block can have another meaning at another one of them: they have one provider, and
    equal `args` and `retval` types where the block uses these. `point` is the first of them, the one that messages name. `index` is
    the place of the clause in the source. The block contains the predicate. The body of a `fn` has that as its `function`, and a
    point that says nothing.
    """

    __slots__ = ("block", "function", "index", "points", "span")

    def __init__(self, points: list[AttachPoint], block: Block, index: int, span: Span, function: Function | None = None) -> None:
        self.function = function
        self.points = points
        self.block = block
        self.index = index
        self.span = span

    @property
    def point(self) -> AttachPoint:
        return self.points[0]


class Unit:
    """A script being compiled. Passes read and change it in the order of `lang.passes.PASSES`."""

    def __init__(
        self, script: Script, source: Source, world: World, options: Options | None = None, diagnostics: Diagnostics | None = None
    ) -> None:
        self.script = script
        self.source = source
        self.world = world
        self.options = options or Options()
        self.diagnostics = diagnostics if diagnostics is not None else Diagnostics()
        self.config = Config()
        self.types = TypeTable(world)
        self.places: dict[AttachPoint, list[AttachPoint] | NoMatch] = {}  # what the world was asked early
        self.bodies: list[Body] = []  # from the expansion of attach points on; until then bodies are the script's
        self.named: dict[str, NamedParameter] = {}  # by name, from the getopt pass on
        self.headers: list[str] = []  # paths of the C headers that imports bring
        self.expanded = 0  # nodes added by macros
        self.maps: dict[str, MapInfo] = {}
        self.inference: Inference | None = None  # from type inference on
        self.program: Program | None = None

    def grow(self, nodes: int, span: Span) -> bool:
        """Count nodes that macros or `unroll` are about to add; False, with an error recorded once, when there are too many."""
        within = self.expanded <= MOST_EXPANDED
        self.expanded += nodes
        if within and self.expanded > MOST_EXPANDED:
            self.diagnostics.error("expansion makes the program too large", span)
        return self.expanded <= MOST_EXPANDED

    def functions(self) -> list[Body]:
        """The bodies of the script's functions."""
        written = [item for item in self.script.items if isinstance(item, Function)]
        return [Body([AttachPoint("", f.span)], f.body, -1, f.span, f) for f in written]

    def blocks(self) -> list[Block]:
        """The distinct blocks that are compiled: what a pass over expressions goes through."""
        return [body.block for body in self.bodies]
