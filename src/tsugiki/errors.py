"""Everything that can go wrong for a user, as one tree.

    TsugikiError
    ├── ConfigError      (ValueError)         a setting or a command line
    ├── RowsError        (ValueError)         rows, columns, labels, encodings
    ├── MissingError     (FileNotFoundError)  a base, package or file that is not there
    ├── BaseModelError   (ValueError)         a base that cannot be grafted on
    ├── PackageError     (ValueError)         a package that is refused
    ├── ExportError      (ValueError)         an adapter another format cannot hold
    ├── RoutingError     (ValueError)         a route that names what is not there
    ├── TrainingError    (RuntimeError)       a run that cannot go on
    └── SpaceError       (OSError)            a disk or a quota that is full

An error is a key of the message catalogue and the facts that fill it; the key is its searchable code. The wording is
subject, found, allowed, next step. The class carries the exit code of the command line and the HTTP status.
"""

import errno
import re
from typing import ClassVar

from tsugiki import i18n


class TsugikiError(Exception):
    """Base of all errors meant for people.

    Args:
        code: key in the message catalogue, such as `rows.empty`; also the code to search for.
        facts: what fills the placeholders of the text.
    """

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, code: str, /, **facts: object) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts

    def __str__(self) -> str:
        """The sentence, in the language in force."""
        return i18n.text(self.code, **self.facts)


class ConfigError(TsugikiError, ValueError):
    """A setting that cannot be meant."""

    exit_code, http_status = 2, 422


class RowsError(TsugikiError, ValueError):
    """Rows that cannot be read or learnt from."""

    exit_code, http_status = 3, 422


class MissingError(TsugikiError, FileNotFoundError):
    """Something named by the user that is not there."""

    exit_code, http_status = 4, 404


class BaseModelError(TsugikiError, ValueError):
    """A base model that cannot be grafted on."""

    exit_code, http_status = 5, 422


class PackageError(TsugikiError, ValueError):
    """A package that is refused."""

    exit_code, http_status = 6, 422


class ExportError(TsugikiError, ValueError):
    """An adapter that another format cannot hold."""

    exit_code, http_status = 7, 422


class RoutingError(TsugikiError, ValueError):
    """A route that names what is not there."""

    exit_code, http_status = 8, 400


class TrainingError(TsugikiError, RuntimeError):
    """A training run that cannot go on."""

    exit_code, http_status = 9, 500


class SpaceError(TsugikiError, OSError):
    """No room left where something must be written."""

    exit_code, http_status = 10, 507


def reason_of(error: OSError) -> str:
    """Why the system refused: in the language in force, or in the system's words where the catalogue has none.

    What is no refusal of the system has words of whoever raised it, which may quote a row: its kind is told.
    """
    if isinstance(error, TsugikiError):
        return str(error)
    key = f"system.{errno.errorcode.get(error.errno or 0, '').lower()}"
    return i18n.text(key) if key in i18n.catalogue(i18n.FALLBACK) else error.strerror or type(error).__name__


def place_of(error: Exception) -> str:
    """Line and column that a parser of JSON or TOML complains of; its own words where it names none."""
    found = re.search(r"line (\d+),? column (\d+)", str(error))
    return i18n.text("config.place", line=found[1], column=found[2]) if found else str(error)
