"""Where rows come from: every source that a user may name becomes tables, one for each split.

A source is a folder of `train|validation|test` files, one file, `-` (lines of standard input), a pandas DataFrame, a
`datasets` data set, a list of dicts, of (text, label) pairs or of texts, a mapping of split names to any of these, or
the name of a data set on the hub.
"""

import gzip
import re
import sys
import zlib
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from tsugiki import i18n
from tsugiki.data.encodings import decode
from tsugiki.data.format import FORMATS, ending
from tsugiki.data.reading import Reading
from tsugiki.data.table import Table, records, shown
from tsugiki.errors import MissingError, RowsError
from tsugiki.hub.refusal import refusal, require_given
from tsugiki.hub.secrets import hide

_SPLIT_NAMES = {"train": "train", "training": "train", "test": "test"}
_SPLIT_NAMES |= dict.fromkeys(("validation", "valid", "val", "dev"), "validation")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def parts_of(source: Any) -> dict[str | None, Any]:
    """Split name to a source of one table, still unread; the key is None where the source is one table.

    Raises:
        MissingError: the file or the hub's data set is not there, or no part is named after a split.
        RowsError: a folder has two files for one split.
    """
    if isinstance(source, str | PathLike):
        return _named(fspath(source))
    if not isinstance(source, Mapping):
        return {None: source}
    found: dict[str | None, Any] = {_SPLIT_NAMES[key]: part for key, part in source.items() if key in _SPLIT_NAMES}
    if not found:
        raise MissingError("rows.no_splits", path=type(source).__name__, found=shown(list(source)))
    return found


def table_of(source: Any, reading: Reading) -> Table:
    """The table of a source that is one.

    Raises:
        MissingError: a file or sheet is not there.
        RowsError: it cannot be read.
    """
    if isinstance(source, str | PathLike):
        return _file(Path(source).expanduser(), reading)
    if _is_a("pandas", "DataFrame", source):
        return _frame(source)
    if _is_a("datasets", "Dataset", source):
        return _dataset(source)
    if isinstance(source, Sequence):
        return _listed(source)
    raise RowsError("rows.unknown_source", found=type(source).__name__)


# --- what a name stands for


def _named(name: str) -> dict[str | None, Any]:
    path = Path(name).expanduser()
    try:
        there = name == "-" or path.exists()
    except OSError:  # a name that no file can have, such as a whole text
        there = False
    if there:
        return _folder(path) if path.is_dir() else {None: path}
    is_hub_name = _HUB_NAME.fullmatch(name) and ending(path) not in FORMATS.names()
    if not is_hub_name or (path.parent != Path() and path.parent.is_dir()):
        raise MissingError("rows.no_file", path=name[:200])
    import datasets

    i18n.notify("rows.asking_hub", name=name)
    require_given(name, "dataset")
    try:
        return parts_of(datasets.load_dataset(name))
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = hide(str(error).partition("\n")[0][:200])
        raise refusal(name, "dataset") or MissingError("rows.no_hub", name=name, reason=reason) from error


def _folder(folder: Path) -> dict[str | None, Any]:
    found: dict[str | None, Any] = {}
    names = sorted(folder.iterdir())
    readable = FORMATS.names()
    for path in names:
        split = _SPLIT_NAMES.get(path.name.partition(".")[0].lower())
        if split is None or ending(path) not in readable:
            continue
        if split in found:
            raise RowsError("rows.two_files", split=split, first=found[split], second=path)
        found[split] = path
    if not found:
        raise MissingError("rows.no_splits", path=folder, found=shown([path.name for path in names]))
    return found


def _file(path: Path, reading: Reading) -> Table:
    if str(path) == "-":
        return _lines(str(path), sys.stdin.buffer.read(), reading)
    if ending(path) not in FORMATS.names():
        allowed = ", ".join(f".{name}" for name in FORMATS.names())
        raise RowsError("rows.unknown_format", path=path, allowed=allowed)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise MissingError("rows.no_file", path=path) from None
    if path.suffix.lower() == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            raise RowsError("rows.damaged", path=path) from None
    return FORMATS.parse({"kind": ending(path)}).read(str(path), data, reading)


def _lines(name: str, data: bytes, reading: Reading) -> Table:
    content, encoding = decode(name, data, reading.encoding)
    content = content.removesuffix("\n")
    texts = [line.removesuffix("\r") for line in content.split("\n")] if content else []
    return Table(name, ("text",), lambda _: texts, range(1, len(texts) + 1), encoding)


# --- objects


def _is_a(library: str, kind: str, value: object) -> bool:
    """Whether `value` is of a library's class; a library that is not loaded has no instances, so it stays unloaded."""
    loaded = sys.modules.get(library)
    return loaded is not None and isinstance(value, getattr(loaded, kind))


def _frame(frame: Any) -> Table:
    def column(at: int) -> list[Any]:
        cells = frame.iloc[:, at].astype(object)
        return list(cells.where(cells.notna(), None))

    return Table("DataFrame", [str(name) for name in frame.columns], column, range(1, len(frame) + 1))


def _dataset(dataset: Any) -> Table:
    def column(at: int) -> list[Any]:
        name = dataset.column_names[at]
        cells = list(dataset.with_format(None).select_columns([name])[:][name])
        names = getattr(dataset.features[name], "names", None)  # of a ClassLabel, which stores numbers, -1 for none
        return cells if names is None else [None if i is None or i < 0 else names[i] for i in cells]

    return Table("Dataset", dataset.column_names, column, range(1, len(dataset) + 1))


def _listed(items: Sequence[Any]) -> Table:
    lines = range(1, len(items) + 1)
    if all(isinstance(item, Mapping) for item in items):
        return records("list", items, lines)
    if all(isinstance(item, str) for item in items):
        return Table("list", ("text",), lambda _: items, lines)
    for line, item in zip(lines, items, strict=True):
        if not isinstance(item, Sequence) or isinstance(item, str) or len(item) != 2:
            raise RowsError("rows.bad_item", line=line, found=type(item).__name__)
    return Table("list", ("text", "label"), lambda at: [pair[at] for pair in items], lines)
