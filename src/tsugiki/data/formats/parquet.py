"""Parquet: columns with types."""

import io
from typing import Literal

from tsugiki.data.format import Format
from tsugiki.data.reading import Reading
from tsugiki.data.table import Table
from tsugiki.errors import RowsError


class Parquet(Format):
    """As pyarrow reads it."""

    kind: Literal["parquet"] = "parquet"

    def read(self, name: str, data: bytes, reading: Reading) -> Table:  # noqa: ARG002
        """The columns."""
        import pyarrow
        from pyarrow import parquet

        try:
            table = parquet.read_table(io.BytesIO(data))
            table.validate(full=True)  # else bytes that are not UTF-8 come up later, as a bare UnicodeDecodeError
        except (pyarrow.ArrowException, OSError):
            raise RowsError("rows.damaged", path=name) from None
        return Table(name, table.column_names, lambda at: table.column(at).to_pylist(), range(1, table.num_rows + 1))

    def write(self, table: Table) -> bytes:
        """The columns; what is of several types becomes text."""
        import pyarrow
        from pyarrow import parquet

        columns = {}
        for at, name in enumerate(table.columns):
            cells = list(table.column(at))
            try:
                columns[name] = pyarrow.array(cells)
            except pyarrow.ArrowException:
                columns[name] = pyarrow.array([None if cell is None else str(cell) for cell in cells])
        file = io.BytesIO()
        parquet.write_table(pyarrow.table(columns), file)
        return file.getvalue()
