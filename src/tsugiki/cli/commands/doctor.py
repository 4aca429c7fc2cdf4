"""`tsugiki doctor`: whether this machine has what tsugiki needs, and how fast it is."""

import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

from tsugiki.cli.answer import Answer
from tsugiki.cli.check import Check
from tsugiki.cli.network import network
from tsugiki.errors import TsugikiError
from tsugiki.i18n import text as say

if TYPE_CHECKING:
    from rich.console import RenderableType

EXAMPLE = "tsugiki doctor"
_STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}
_WIDTH = 384  # of the built-in base


def run() -> Answer:
    """Look at everything; the exit code is 1 where something that is needed is missing."""
    checks = [*_machine(), *_torch(), *_base(), *_home(), *_packages(), *network()]
    failed = any(check.level == "error" for check in checks)
    return Answer({"ok": not failed, "checks": [asdict(c) for c in checks]}, _page(checks), int(failed))


def _page(checks: list[Check]) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    page = Table.grid(padding=(0, 2))
    for check in checks:
        level = Text(say(f"cli.doctor.{check.level}"), _STYLES[check.level])
        page.add_row(Text(say(f"cli.check.{check.name}")), level, Text(check.found))
    return page


def _machine() -> Iterator[Check]:
    import psutil

    memory = psutil.virtual_memory()
    yield Check("python", "ok", f"{platform.python_version()} ({sys.executable})")
    facts = {"cores": os.cpu_count(), "total": memory.total / 1e9, "free": memory.available / 1e9}
    yield Check("machine", "ok", f"{platform.machine()}, {say('cli.doctor.machine', **facts)}")


def _torch() -> Iterator[Check]:
    try:
        import torch

        from tsugiki.base.precision import measured_speedup
    except (ImportError, OSError) as error:  # a CUDA build without its libraries fails while it is loaded
        yield Check("torch", "error", say("cli.doctor.no_torch", reason=str(error).partition("\n")[0]))
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    threads = say("cli.doctor.threads", count=torch.get_num_threads())
    yield Check("torch", "ok", f"{torch.__version__}, {device}, {threads}")
    yield Check("speed", "ok", say("cli.doctor.speed", speedup=measured_speedup(_WIDTH, device)))


def _base() -> Iterator[Check]:
    from tsugiki.base.model import built_in_folder

    try:
        folder = built_in_folder()
        yield Check("base", "ok" if (folder / "config.json").is_file() else "error", str(folder))
    except TsugikiError as error:
        yield Check("base", "error", str(error))


def _home() -> Iterator[Check]:
    from tsugiki.home import home

    try:
        folder = home()
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, TsugikiError) as error:
        yield Check("home", "error", str(error))
        return
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    yield Check("home", "ok", say("cli.doctor.home", folder=folder, size=size, variable="TSUGIKI_HOME"))


def _packages() -> Iterator[Check]:
    try:
        wanted = [need for need in requires("tsugiki") or () if "extra ==" not in need]
    except PackageNotFoundError:
        yield Check("packages", "warning", say("cli.doctor.not_installed"))
        return
    outside = [found for need in wanted if (found := _outside(need))]
    if outside:
        yield Check("packages", "warning", say("cli.doctor.outside", packages="; ".join(outside)))
    else:
        yield Check("packages", "ok", say("cli.doctor.within", count=len(wanted)))


def _outside(need: str) -> str | None:
    """What is there of a dependency, if that is not in its tested range."""
    name = re.split(r"[^\w.-]", need, maxsplit=1)[0]
    try:
        found = version(name)
    except PackageNotFoundError:
        return f"{name} -"
    low, high = (re.search(rf"{sign}([\d.]+)", need) for sign in (">=", "<"))
    below = low is not None and _numbers(found) < _numbers(low[1])
    above = high is not None and _numbers(found) >= _numbers(high[1])
    return f"{name} {found} ({need.removeprefix(name)})" if below or above else None


def _numbers(found: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", found.partition("+")[0])[:3])
