"""How long a command takes from nothing: import, `--help`, and `predict` of one row.

`python -m benchmarks.start --out FILE`. Each in processes of their own, the median of several; the first of each only
warms the disk.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from statistics import median

from benchmarks.machine import machine

TIMES = 5
WANTED_S = {"import": 0.1, "--help": 0.4, "predict": 4.0}


def main() -> None:
    """Measure and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TSUGIKI_HOME": f"{folder}/home"}
        tickets = str(files("tsugiki") / "demo" / "tickets_en")
        tool = [sys.executable, "-m", "tsugiki"]

        def seconds(command: list[str]) -> float:
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, env=environment)
            return time.perf_counter() - began

        subprocess.run([*tool, "train", tickets, "--out", f"{folder}/adapter"], check=True, env=environment)
        # Python itself takes a while to start; what `import tsugiki` adds is counted.
        nothing = median(seconds([sys.executable, "-c", ""]) for _ in range(TIMES))
        commands = {
            "import": [sys.executable, "-c", "import tsugiki"],
            "--help": [*tool, "--help"],
            "predict": [*tool, "predict", f"{folder}/adapter", "--text", "Oil on the floor"],
        }
        rows = []
        for name, command in commands.items():
            seconds(command)
            took = median(seconds(command) for _ in range(TIMES)) - (nothing if name == "import" else 0.0)
            rows.append({"what": name, "seconds": took, "wanted_s": WANTED_S[name], "machine": machine()})
            print(f"{name:8} {took:.2f} s (wanted {WANTED_S[name]} s)")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
