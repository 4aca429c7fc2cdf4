"""What `import tsugiki` offers for adapters that answer together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsugiki.base.model import Base
from tsugiki.data.reading import Reading
from tsugiki.data.rows import read_table, unlabelled
from tsugiki.errors import ConfigError

if TYPE_CHECKING:
    from tsugiki.composed.adapters import Composed
    from tsugiki.composed.evaluation import SetEvaluation


def load_set(folder: str | Path, base: str | Base | None = None) -> "Composed":
    """Load a set of adapters that was composed, with the base that they name or the one given.

    Raises:
        MissingError: the set or its base is not there.
        PackageError: the set is damaged or belongs to another base.
    """
    from tsugiki.composed.adapters import Composed

    return Composed.load(Path(folder), base)


def compose(
    *folders: str | Path,
    out: str | Path,
    add: Sequence[str | Path] = (),
    rows: Any = None,
    text: str | Sequence[str] | None = None,
    pair: str | None = None,
    domains: str | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
    max_lost: float | None = None,
    router: Mapping[str, Any] | None = None,
    base: str | Base | None = None,
) -> "Composed":
    """Put adapters together that were trained apart: each input is answered by the one that knows it, or by none.

        desk = tsugiki.compose("billing", "returns", out="desk")
        desk.predict(["Where is my parcel?"])

    Args:
        folders: of the adapters; none where some are added to the set at `out`.
        out: folder of the set.
        add: folders of adapters that join the set at `out`; the others stay as they are to the byte.
        rows: as for `train`, from which the router learns; none are needed.
        text: column of their texts; None finds it by name.
        pair: column of their second texts; None likewise.
        domains: column of the names of their adapters, empty where a row is for none.
        sheet: of a workbook; None takes the only one that is not empty.
        encoding: of text files; None recognises it.
        max_lost: share of its own inputs that an adapter may lose (0..1); None: 5 %, or that of the set.
        router: `{kind, ...}`; None takes the one adapter that knows an input best, or the router of the set.
        base: folder or hub name, or a base that is loaded; None takes the one that the adapters name.

    Raises:
        MissingError: a package or the base is not there.
        PackageError: adapters of different bases or of one name, or a package that is damaged or cannot recognise.
        ConfigError: nothing is to be composed, or a setting of a set that is there is to be another; or one of `rows`
            and `domains` is given without the other.
        RowsError: the rows cannot be read, or name no adapter of the set.
    """
    from tsugiki.composed.joining import join

    if (rows is None) != (domains is None):
        raise ConfigError("compose.domains_without_rows" if rows is None else "compose.rows_without_domains")
    recorded = None
    if rows is not None:
        named = {"text": text, "pair": pair, "domains": domains, "sheet": sheet, "encoding": encoding}
        reading = Reading.model_validate({name: value for name, value in named.items() if value is not None})
        recorded = unlabelled(read_table(rows, None, reading), reading)
    given: Any = ([Path(folder) for folder in each] for each in (folders, add))
    chosen: Any = {"max_lost": max_lost, "router": router, "base": base, "recorded": recorded}
    return join(*given, out=Path(out), **chosen).composed


def evaluate_set(
    composed: "Composed",
    rows: Any,
    *,
    split: str = "test",
    text: str | Sequence[str] | None = None,
    pair: str | None = None,
    label: str | None = None,
    domains: str | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
) -> "SetEvaluation":
    """Answer labelled rows by a set, and say how good the answers are and what finding the adapter costs.

    Args:
        composed: the set.
        rows: as for `train`.
        split: to answer, where the rows have several.
        text: column of the texts; None finds it by name.
        pair: column of the second texts; None likewise.
        label: column of the labels; None likewise.
        domains: column of the names of the adapters that rows are for, empty where they are for none; None where that
            is not known.
        sheet: of a workbook; None takes the only one that is not empty.
        encoding: of text files; None recognises it.

    Raises:
        RowsError: the rows cannot be read, or have no labels.
        MissingError: the rows or their split are not there.
    """
    from tsugiki.composed.evaluation import evaluate_set as answered

    named = {"text": text, "pair": pair, "label": label, "domains": domains, "sheet": sheet, "encoding": encoding}
    reading = Reading.model_validate({name: value for name, value in named.items() if value is not None})
    return answered(composed, unlabelled(read_table(rows, split, reading), reading, blanks=True))
