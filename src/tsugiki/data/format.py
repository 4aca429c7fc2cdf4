"""The contract of a file format: how a file becomes a table."""

from pathlib import Path

from tsugiki.data.reading import Reading
from tsugiki.data.table import Table
from tsugiki.family import Family
from tsugiki.spec import Spec


class Format(Spec):
    """One format; the name of its member is what a file's name ends in."""

    kind: str

    def read(self, name: str, data: bytes, reading: Reading) -> Table:
        """The table in a file.

        Args:
            name: what messages call the file.
            data: its bytes.
            reading: sheet and encoding, where the user named them.

        Raises:
            RowsError: the file is not what its name says.
        """
        raise NotImplementedError(type(self).__name__)

    def write(self, table: Table) -> bytes:
        """A file with all columns of a table, in their order."""
        raise NotImplementedError(type(self).__name__)


FORMATS: Family[Format] = Family("tsugiki.data.formats", Format)


def ending(path: Path) -> str:
    """What a file's name ends in, without the dot and in small letters; `.gz` does not count."""
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower().removeprefix(".")
