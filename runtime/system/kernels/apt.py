"""Packages from the user's own package manager, without root and without a trace in its state.

apt gets lists and caches of its own (apt.conf(5): `Dir::State`, `Dir::Cache`) but the user's sources and keys, and works for the
architecture that is asked for. It verifies what it downloads: signatures of the lists, hashes of the packages.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyprobe.runtime.system.kernels.errors import KernelError

PROGRAMS = ("apt-get", "apt-cache")
_CONFIGURATION = """\
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
APT::Architecture "{arch}";
APT::Architectures {{ "{arch}"; }};
APT::Sandbox::User "root";
APT::Get::AllowUnauthenticated "false";
Acquire::Languages "none";
Acquire::Retries "2";
"""
_DEPENDS = re.compile(r"^ *\|?(?:Pre)?Depends: (\S+)$", re.MULTILINE)


def available() -> bool:
    """Whether this system has apt."""
    return all(shutil.which(program) for program in PROGRAMS)


class Apt:
    """apt for one architecture (Debian's name of it), with private state in `folder`.

    sources: lines of a sources.list(5) to look in instead of the user's sources.
    """

    def __init__(self, folder: Path, arch: str, sources: str = "") -> None:
        self._folder = folder
        for part in ("state/lists/partial", "cache/archives/partial", "packages"):
            (folder / part).mkdir(parents=True)
        (folder / "status").touch()
        text = _CONFIGURATION.format(folder=str(folder), arch=arch)
        if sources:
            (folder / "sources.list").write_text(sources)
            text += f'Dir::Etc::SourceList "{folder}/sources.list";\nDir::Etc::SourceParts "-";\n'
        configuration = folder / "apt.conf"
        configuration.write_text(text)
        self._environment = {**os.environ, "APT_CONFIG": str(configuration), "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}

    def update(self) -> None:
        """Fetch the lists of packages of the user's sources. Raises KernelError."""
        self._run("apt-get", "-q", "update")

    def depends(self, package: str) -> list[str]:
        """The packages that one depends on. Raises KernelError when the sources do not have it."""
        return _DEPENDS.findall(self._run("apt-cache", "depends", package))

    def download(self, packages: list[str]) -> list[Path]:
        """Fetch packages, verified; their files. Raises KernelError."""
        target = self._folder / "packages"
        before = set(target.iterdir())
        self._run("apt-get", "-q", "download", *packages, cwd=target)
        return sorted(set(target.glob("*.deb")) - before)

    def _run(self, *command: str, cwd: Path | None = None) -> str:
        try:
            done = subprocess.run(
                command, env=self._environment, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
            )
        except OSError as error:
            raise KernelError(f"{command[0]} can't be run: {error.strerror}") from None
        if done.returncode:
            lines = [line.strip() for line in done.stderr.splitlines() if line.startswith(("E:", "Err:"))]
            raise KernelError(f"{' '.join(command[:3])}: {lines[0].removeprefix('E: ') if lines else f'exit status {done.returncode}'}")
        return done.stdout


@contextmanager
def private(parent: Path, arch: str, sources: str = "") -> Iterator[Apt]:
    """apt with state below `parent` that is gone afterwards. Raises KernelError where there is no apt, or nothing can be written."""
    if not available():
        raise KernelError("this system has no apt to fetch Debian's kernels with; add a kernel file with: pyprobe kernel add NAME FILE")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".apt-", dir=parent, ignore_cleanup_errors=True)
        manager = Apt(Path(folder.name), arch, sources)
    except OSError as error:
        raise KernelError(f"can't write {parent}: {error.strerror}") from None
    with folder:
        yield manager


def kernel_packages(apt: Apt, package: str) -> list[str]:
    """What has to be downloaded for a kernel's metapackage: the packages that hold its image and its modules."""
    wanted: list[str] = []
    pending = [package]
    while pending:
        for name in apt.depends(pending.pop()):
            if name.startswith(("linux-image-", "linux-binary-", "linux-modules-")) and name not in wanted:
                wanted.append(name)
                pending.append(name)
    if not wanted:
        raise KernelError(f"{package} names no kernel")
    return wanted


Progress = Callable[[str], None]
"""Told what is being done."""
