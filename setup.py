"""Package discovery: `lang`, `runtime`, `stdlib` and `scripts` stand at the top of the tree and install as `pyprobe.lang` and so on.

setuptools has no declarative form for "every package below this folder, under another name", so the folders are
walked here and no subpackage can be forgotten.
"""

import importlib.util
from pathlib import Path
from zlib import crc32

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
MAPPED = ("lang", "runtime", "stdlib", "scripts")
DATA = ["*.lark", "*.pt", "*.h", "*.c", "*.tsv", "*.json", "*.txt", "*.bin", "bin/*", "workload/*"]

package_dir = {"pyprobe": "pyprobe", "pyprobe.repl": "pyprobe/repl"}
for top in MAPPED:
    for init in sorted((ROOT / top).rglob("__init__.py")):
        folder = init.parent.relative_to(ROOT)
        package_dir["pyprobe." + ".".join(folder.parts)] = folder.as_posix()



class BuildWithTables(build_py):
    """Adds the grammar's tables to the built package, so that nobody's first run has to make them. A checkout keeps its own in a cache."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            spec = importlib.util.spec_from_file_location("tables", ROOT / "lang" / "tables.py")  # `pyprobe` is not importable here
            tables = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(tables)
            tables.write(str(Path(self.build_lib) / "pyprobe" / "lang" / "grammar.json"))


def sources(part: str, suffix: str) -> list[Path]:
    """The files of an extension's source."""
    return sorted((ROOT / "runtime" / part).glob(f"_native*.{suffix}"))


def checksum(part: str) -> str:
    """Of an extension's source, which the extension keeps, so that one of an older checkout is noticed (runtime/machine/extension.py)."""
    return f"{crc32(b''.join(file.read_bytes() for file in sources(part, '[ch]'))):08x}"


setup(
    cmdclass={"build_py": BuildWithTables},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},  # one wheel for every Python from 3.11 on
    packages=sorted(package_dir),
    package_dir=package_dir,
    package_data=dict.fromkeys(package_dir, DATA),
    ext_modules=[
        Extension(
            f"pyprobe.runtime.{part}._native",
            [str(file.relative_to(ROOT)) for file in sources(part, "c")],
            depends=[str(file.relative_to(ROOT)) for file in [*sources(part, "h"), *sources("machine", "h")]],
            define_macros=[("Py_LIMITED_API", "0x030b0000"), ("SOURCE", f'"{checksum(part)}"')],
            py_limited_api=True,
            optional=True,  # the ctypes twins are correct without a compiler
            extra_compile_args=["-O2", "-fvisibility=hidden"],
        )
        for part in ("machine", "system")
    ],
)
