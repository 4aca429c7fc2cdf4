"""Workbooks of Excel with macros, which are not run."""

from typing import Literal

from tsugiki.data.format import Format
from tsugiki.data.formats.xlsx import Xlsx
from tsugiki.data.reading import Reading
from tsugiki.data.table import Table
from tsugiki.errors import RowsError


class Xlsm(Format):
    """Read like one without."""

    kind: Literal["xlsm"] = "xlsm"

    def read(self, name: str, data: bytes, reading: Reading) -> Table:
        """The rows of a sheet."""
        return Xlsx().read(name, data, reading)

    def write(self, table: Table) -> bytes:  # noqa: ARG002
        """Without macros it would be refused by Excel under this name.

        Raises:
            RowsError: always.
        """
        raise RowsError("rows.no_macros")
