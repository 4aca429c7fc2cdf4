"""Results of a benchmark by name, so that one that is stopped goes on where it was."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Kept:
    """Results by name, in a file that grows.

    Args:
        path: of the file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        """What was kept under a name, or is made now; what is made is plain data."""
        if name not in self.found:
            self.found[name] = make()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(self.found, indent=1), encoding="utf-8")
            print(name, json.dumps(self.found[name])[:150], flush=True)
        return self.found[name]
