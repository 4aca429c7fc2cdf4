"""JSON: one list of objects."""

import json
from typing import Literal

from tsugiki.data.encodings import decode
from tsugiki.data.format import Format
from tsugiki.data.formats.jsonl import WRITTEN
from tsugiki.data.reading import Reading
from tsugiki.data.table import Table, records
from tsugiki.errors import RowsError


class Json(Format):
    """A row per object of the list."""

    kind: Literal["json"] = "json"

    def read(self, name: str, data: bytes, reading: Reading) -> Table:
        """The list."""
        text, encoding = decode(name, data, reading.encoding)
        try:
            values = json.loads(text) if text.strip() else []
        except json.JSONDecodeError as error:
            raise RowsError("rows.bad_json", path=name, line=error.lineno) from None
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise RowsError("rows.not_a_list", path=name)
        return records(name, values, range(1, len(values) + 1), encoding)

    def write(self, table: Table) -> bytes:
        """The list."""
        found = [dict(zip(table.columns, row, strict=True)) for row in table.rows()]
        return json.dumps(found, indent=1, **WRITTEN).encode()
