"""All that training on 500 rows takes: the largest resident size of `tsugiki train`, and its seconds.

`python -m benchmarks.memory --out FILE`. The command runs as a user runs it, in a process of its own and an empty home,
on the English demo tickets; libraries, mapped weights and the cache's pages count.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path

from benchmarks.machine import machine


def main() -> None:
    """Train once and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = str(files("tsugiki") / "demo" / "tickets_en")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tsugiki", "train", rows, "--out", f"{folder}/adapter"]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "TSUGIKI_HOME": f"{folder}/home"})
        seconds = time.perf_counter() - began
    # Kibibytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    resident = unit * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    row = {"dataset": "tickets_en", "method": "tsugiki train", "resident_bytes": resident, "seconds": seconds}
    print(f"{resident / 1e9:.2f} GB resident, {seconds:.0f} s")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps([{**row, "machine": machine()}], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
