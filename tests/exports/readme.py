"""The lines of Python in the README of an export, run as a reader would run them."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any


def run(folder: Path, runner: str, texts: list[str]) -> dict[str, Any]:
    """What the lines for a runner leave behind, and under `printed` what they print."""
    page = (folder / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^{re.escape(runner)}:\n\n```\n(.+?)\n```$", page, flags=re.MULTILINE | re.DOTALL)
    assert found is not None
    code = found[1].replace("FOLDER", str(folder)).replace('["a text"]', repr(texts))
    names: dict[str, Any] = {}
    with redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "README.md", "exec"), names)
    return {**names, "printed": out.getvalue()}
