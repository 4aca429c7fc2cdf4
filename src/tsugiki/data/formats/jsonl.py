"""JSON lines: one object per line."""

import json
from typing import Any, Literal

from tsugiki.data.encodings import decode
from tsugiki.data.format import Format
from tsugiki.data.reading import Reading
from tsugiki.data.table import Table, records
from tsugiki.errors import RowsError

# Dates and the numbers of other libraries as texts.
WRITTEN: dict[str, Any] = {"ensure_ascii": False, "default": str}


class Jsonl(Format):
    """Blank lines are passed over."""

    kind: Literal["jsonl"] = "jsonl"

    def read(self, name: str, data: bytes, reading: Reading) -> Table:
        """A row per line."""
        text, encoding = decode(name, data, reading.encoding)
        found, lines = [], []
        for line, content in enumerate(text.split("\n"), start=1):
            if content.strip():
                found.append(_object(name, line, content))
                lines.append(line)
        return records(name, found, lines, encoding)

    def write(self, table: Table) -> bytes:
        """A line per row."""
        lines = (json.dumps(dict(zip(table.columns, row, strict=True)), **WRITTEN) for row in table.rows())
        return "".join(line + "\n" for line in lines).encode()


def _object(name: str, line: int, content: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise RowsError("rows.bad_json", path=name, line=line)
    return value
