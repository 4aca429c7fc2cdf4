"""A folder of wheels from which tsugiki can be installed where there is no network.

It holds what is installed here, version by version, so what works here works there. Each package is fetched by a call
of pip of its own and moved in when it is whole: a run that was interrupted goes on where it stopped.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import Version
from rich.console import Console
from rich.progress import track

from tsugiki.base.upkeep import Size
from tsugiki.errors import ConfigError, MissingError
from tsugiki.hub.secrets import hide
from tsugiki.i18n import notify
from tsugiki.i18n import text as say

SELF = "tsugiki"
REQUIREMENTS, SCRIPT, README = "requirements.txt", "install.sh", "README.txt"

_DRAFT = ".part"
_TOOLS = {"dev"}  # extras that are of no use without the project's tree
_CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_LONGEST = 300  # characters of what pip says
_BROKEN = re.compile(r"connection broken by '(.+?)'(?:: |$)", re.MULTILINE)
_INSTALL = "-m pip install --no-index --no-deps --require-hashes"


class Pin(NamedTuple):
    """A package at the version that is installed here."""

    name: str
    version: str

    def __str__(self) -> str:
        """As pip writes it."""
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class Wheelhouse:
    """A folder that is complete.

    Args:
        folder: the folder.
        wheels: one for each package.
        num_bytes: of all wheels.
    """

    folder: Path
    wheels: Sequence[Path]
    num_bytes: Size


def build_wheelhouse(folder: Path) -> Wheelhouse:
    """Fill a folder with the wheels of tsugiki and all it needs, for this Python on this platform.

    Args:
        folder: made if it is not there; wheels that it has are kept.

    Raises:
        MissingError: pip is not installed, the index cannot be reached, or it lacks a package.
        ConfigError: the folder holds something else.
    """
    if find_spec("pip") is None:
        raise MissingError("wheelhouse.no_pip", python=sys.executable)
    own, *needs = pins(SELF)
    _require_ours(folder)
    folder.mkdir(parents=True, exist_ok=True)
    there = wheels_in(folder)
    notify("wheelhouse.fetching", count=len(needs) + 1, present=sum(pin in there for pin in needs))
    console = Console(stderr=True)
    shown = track(needs, say("wheelhouse.bar"), console=console, transient=True, disable=not console.is_terminal)
    wheels = [there.get(pin) or _fetch(str(pin), pin.name, folder) for pin in shown]
    with _source(own) as source:  # always anew: the same version may have changed in a working tree
        wheels.append(_fetch(source, own.name, folder))
    made = Wheelhouse(folder, wheels, Size(sum(wheel.stat().st_size for wheel in wheels)))
    _describe(made, own)
    return made


def pins(root: str) -> list[Pin]:
    """`root`, and after it by name all packages that it needs and that are installed, extras included.

    Raises:
        MissingError: `root` itself is not installed.
    """
    try:
        extras = distribution(root).metadata.get_all("Provides-Extra") or []
    except PackageNotFoundError:
        raise MissingError("wheelhouse.not_installed") from None
    found: dict[NormalizedName, Pin] = {}
    seen: set[tuple[NormalizedName, frozenset[str]]] = set()
    waiting = [(canonicalize_name(root), frozenset(extras) - _TOOLS)]
    while waiting:
        name, wanted = here = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        try:
            package = distribution(name)
        except PackageNotFoundError:  # of an extra that is not wanted here
            continue
        found[name] = Pin(name, str(Version(package.version)))
        waiting += _needs(package.requires or [], wanted)
    own = found.pop(canonicalize_name(root))
    return [own, *sorted(found.values())]


def _needs(requirements: Collection[str], extras: Collection[str]) -> Iterator[tuple[NormalizedName, frozenset[str]]]:
    for need in map(Requirement, requirements):
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield canonicalize_name(need.name), frozenset(need.extras)


def wheels_in(folder: Path) -> dict[Pin, Path]:
    """Wheels in a folder that fit this Python and platform."""
    fitting = set(sys_tags())
    found: dict[Pin, Path] = {}
    for path in folder.glob("*.whl"):
        with suppress(InvalidWheelFilename):  # somebody's own; pip passes over it as well
            name, version, _, tags = parse_wheel_filename(path.name)
            if tags & fitting:
                found[Pin(name, str(version))] = path
    return found


def _require_ours(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [folder.name] * folder.exists()
    ours = {REQUIREMENTS, SCRIPT, README, _DRAFT}
    foreign = [name for name in names if name not in ours and not name.endswith(".whl")]
    if foreign:
        raise ConfigError("wheelhouse.occupied", path=folder, found=foreign[0])


@contextmanager
def _source(own: Pin) -> Iterator[str]:
    """What pip is to make the wheel of tsugiki from: the tree that runs, where it was installed from, or its name."""
    root = Path(__file__).parents[3]
    if not (root / "pyproject.toml").is_file():
        origin = distribution(own.name).read_text("direct_url.json")
        url = str(json.loads(origin)["url"]) if origin else ""
        yield url if url.startswith("file:") else str(own)
        return
    with TemporaryDirectory() as aside:  # building leaves files in the tree, and takes old ones along
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(root / name, aside)
        without = shutil.ignore_patterns("*.egg-info", "__pycache__")
        shutil.copytree(root / "src", Path(aside, "src"), ignore=without)
        yield aside


def _fetch(what: str, name: str, folder: Path) -> Path:
    """Have pip put the wheel of `what` into the folder: from an index, or built where that has the source only."""
    draft = folder / _DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    options = ["--no-deps", "--no-input", "--quiet", "--retries", "2", "--find-links", str(folder)]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(draft), what]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", env=_environment())
    if done.returncode != 0:
        raise _failure(name, done.stdout + done.stderr)
    (wheel,) = draft.glob("*.whl")
    whole = wheel.replace(folder / wheel.name)
    draft.rmdir()
    return whole


def _environment() -> Mapping[str, str]:
    """Of pip, which does not look for certificates where everything else does."""
    file = os.environ.get("SSL_CERT_FILE")
    own = {"PIP_CERT": file} if file and not any(map(os.environ.get, _CERTIFICATES)) else {}
    return {**os.environ, **own}


def _failure(name: str, said: str) -> MissingError:
    if broken := _BROKEN.search(said):
        return MissingError("wheelhouse.unreachable", reason=hide(broken[1])[:_LONGEST])
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["-"]
    told = [line.partition("ERROR:")[2].strip() for line in lines if "ERROR:" in line] or lines[-1:]
    return MissingError("wheelhouse.failed", package=name, reason=hide(told[0]).rstrip(".")[:_LONGEST])


def _describe(made: Wheelhouse, own: Pin) -> None:
    """Write what pip reads, what a person runs, and what a person reads."""
    lines = []
    for wheel in sorted(made.wheels):
        with wheel.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        name, version, *_ = parse_wheel_filename(wheel.name)
        lines.append(f"{name}=={version} --hash=sha256:{digest}\n")
    python = "{}.{}".format(*sys.version_info)
    facts = {"python": python, "platform": sysconfig.get_platform(), "count": len(lines), "size": made.num_bytes}
    parts = [
        say("wheelhouse.readme_what", name=own.name, version=own.version, **facts),
        say("wheelhouse.readme_script"),
        f"    PYTHON=/path/to/python sh {SCRIPT}",
        say("wheelhouse.readme_hand"),
        f"    python {_INSTALL} --find-links . -r {REQUIREMENTS}",
        say("wheelhouse.readme_then"),
        "    tsugiki doctor",
    ]
    (made.folder / REQUIREMENTS).write_text("".join(lines), encoding="utf-8")
    (made.folder / SCRIPT).write_text(_script(own, python), encoding="utf-8", newline="\n")
    (made.folder / README).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _script(own: Pin, python: str) -> str:
    return f"""\
#!/bin/sh
# Installs {own.name} {own.version} from the wheels in this folder; no network is needed, none is asked.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
python=${{PYTHON:-python3}}
found=$("$python" -c 'import sys; print("{{}}.{{}}".format(*sys.version_info))')
if [ "$found" != {python} ]; then
    echo "These wheels are for Python {python}; $python is $found. Name the right one: PYTHON=... sh $0" >&2
    exit 1
fi
exec "$python" {_INSTALL} --find-links "$here" -r "$here/{REQUIREMENTS}"
"""
