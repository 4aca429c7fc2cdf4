"""`python -m benchmarks [--data FOLDER]`: every benchmark, results under `benchmarks/results`; hours on two cores.

Each can be run alone: `python -m benchmarks.deep --out FILE`, `python -m benchmarks.sets --sets NAME`.
"""

import subprocess
import sys

from benchmarks.sets import RESULTS

RESULTS.mkdir(exist_ok=True)
# In processes of their own: what one leaves in memory would be counted for the next.
for name in ("deep", "warm", "serving", "memory", "start"):
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}", "--out", str(RESULTS / f"{name}.json")], check=True)
subprocess.run([sys.executable, "-m", "benchmarks.sets", *sys.argv[1:]], check=True)
confidence = ["--out", str(RESULTS / "confidence.json"), *sys.argv[1:]]
subprocess.run([sys.executable, "-m", "benchmarks.confidence", *confidence], check=True)
onnx = ["benchmarks.onnx", "--out", str(RESULTS / "onnx.json"), *sys.argv[1:]]
subprocess.run([sys.executable, "-m", *onnx], check=True)
