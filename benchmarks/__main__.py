"""`python -m benchmarks --data FOLDER`: every benchmark, results under `benchmarks/results`; hours on two cores.

FOLDER holds the sets, a folder for each; `TSUGIKI_DATA` names it as well. Each benchmark can be run alone, with what
its docstring tells: `python -m benchmarks.deep --out FILE`, `python -m benchmarks.sets --sets NAME`.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.sets import RESULTS

OF_SETS = (
    "confidence",
    "onnx",
    "advice",
    "placement",
    "controls",
    "exits",
    "few",
    "generalisation",
    "transfer",
    "routing",
)


def run(name: str, *given: str) -> None:
    """One benchmark in a process of its own: what one leaves in memory would be counted for the next."""
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *given], check=True)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument(
    "--data", type=Path, default=os.environ.get("TSUGIKI_DATA"), required="TSUGIKI_DATA" not in os.environ
)
data = str(parser.parse_args().data)
if not Path(data).is_dir():
    parser.error(f"there is no folder {data}")
RESULTS.mkdir(exist_ok=True)
for name in ("deep", "warm", "serving", "dispatch", "mixed", "memory", "start"):
    run(name, "--out", str(RESULTS / f"{name}.json"))
run("sets", "--data", data)
for name in ("summary", "guide", "pictures"):
    run(name)
for name in OF_SETS:
    run(name, "--data", data, "--out", str(RESULTS / f"{name}.json"))
