"""What `import tsugiki` offers: as short as the commands of the same names."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from tsugiki.adapt.adapted import AdaptedModel
from tsugiki.adapt.package import FILES, Package, load_package
from tsugiki.adapt.package_checks import check_base, require_ungrouped
from tsugiki.base.anatomy import find_anatomy
from tsugiki.base.digest import layer_digests
from tsugiki.base.model import Base
from tsugiki.base.upkeep import CacheSettings
from tsugiki.data.reading import Reading
from tsugiki.data.rows import read_splits, read_table, unlabelled
from tsugiki.data.spelling import respelled, shown, usual_spellings
from tsugiki.drafts import require_free
from tsugiki.errors import ConfigError, PackageError
from tsugiki.i18n import notify, warn
from tsugiki.placement.strategies.top import Top
from tsugiki.spec import parse
from tsugiki.train.config import Config, PlacementSettings, read_config

if TYPE_CHECKING:
    from tsugiki.ablation import Ablation
    from tsugiki.adapt.grafted import Grafted
    from tsugiki.advise.advice import Advice
    from tsugiki.audited import Audit
    from tsugiki.composed.adapters import Composed
    from tsugiki.evaluate.comparison import Comparison
    from tsugiki.evaluate.run import Evaluation
    from tsugiki.explanation import Explanation
    from tsugiki.receipts import Receipt
    from tsugiki.tasks.adapter import Adapter
    from tsugiki.train.planned import Planned
    from tsugiki.train.run import Trained


def train(
    rows: Any,
    *,
    base: str | Path | None = None,
    out: str | Path | None = None,
    parent: str | Path | None = None,
    text: str | Sequence[str] | None = None,
    pair: str | None = None,
    label: str | None = None,
    domains: str | None = None,
    task: str | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
    config: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> "Adapter":
    """Train an adapter on labelled rows.

    Args:
        rows: a folder of `train|validation|test` files, a file, a data set on the hub, a DataFrame, a `datasets` data
            set, or a list of dicts or of (text, label) pairs.
        base: folder or hub name of the base; None is the built-in encoder.
        out: folder to save the adapter in; None saves nothing.
        parent: folder of an adapter to go on from: its settings, its labels beside new ones, its placement and its
            modules. Only what is among the rows is sure to be kept, so give it old rows as well; their states are
            cached.
        text: column of the texts, or several that are joined; None finds it by name.
        pair: column of the second texts, where rows are pairs of texts.
        label: column of the labels; None finds it by name.
        domains: column that says from which domain a row is: each gets modules of its own, which act on the inputs
            that gates find to be from it. They are raced like everything else. None: no domains.
        task: `classify`, `tag` (any number of labels per row) or `grade` (ordered labels); None finds out whether cells
            hold several.
        sheet: of a workbook; None takes the only one that is not empty.
        encoding: of text files; None recognises it.
        config: a TOML file with the settings of the run.
        settings: single settings over it, such as `{"train.max_rows": 2000}`.

    Raises:
        RowsError: nothing can be learnt from the rows.
        MissingError: rows, base or config are not there.
        ConfigError: a setting is wrong.
        PackageError: something else is at `out`.
    """
    named: Any = {"text": text, "pair": pair, "label": label, "task": task, "sheet": sheet, "encoding": encoding}
    named["domains"] = domains
    return train_and_report(rows, base=base, out=out, parent=parent, config=config, settings=settings, **named).adapter


def train_and_report(
    rows: Any,
    *,
    base: str | Path | None = None,
    out: str | Path | None = None,
    parent: str | Path | None = None,
    text: str | Sequence[str] | None = None,
    pair: str | None = None,
    label: str | None = None,
    domains: str | None = None,
    task: str | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
    config: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> "Trained":
    """Train as `train` does, and return the adapter with what was tried, what it cost and the verdict."""
    if out is not None:
        require_free(Path(out), FILES)
    named: Any = {"text": text, "pair": pair, "label": label, "task": task, "sheet": sheet, "encoding": encoding}
    named["domains"] = domains
    package = None if parent is None else load_package(Path(parent))
    chosen = configure(base=base, parent=package, config=config, settings=settings, **named)
    if out is not None and chosen.name is None:
        chosen = chosen.model_copy(update={"name": Path(out).resolve().name})
    from tsugiki.train.run import train_adapter
    from tsugiki.writing.writing import writes

    if writes(chosen.data.task):
        raise ConfigError("writing.other_function", task=chosen.data.task)
    trained = train_adapter(read_splits(rows, chosen.data), chosen, package)
    if out is not None:
        trained.adapter.save(Path(out))
    return trained


def plan(
    rows: Any,
    *,
    base: str | Path | None = None,
    text: str | Sequence[str] | None = None,
    pair: str | None = None,
    label: str | None = None,
    task: str | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
    config: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> "Planned":
    """Choose where modules are to stand under a budget, and say what that would cost, without training.

    Args:
        rows: as for `train`, like everything below that is not told here.
        base: folder or hub name of the base; None is the built-in encoder.
        text: column of the texts.
        pair: column of the second texts.
        label: column of the labels.
        task: `classify`, `tag` or `grade`.
        sheet: of a workbook.
        encoding: of text files.
        config: a TOML file with the settings of the run.
        settings: single settings over it; the budget is among them, such as `{"budget.max_params": "1%"}`.

    Raises:
        ConfigError: the budget has no room for any module, and what it would have to be.
        RowsError, MissingError: as for `train`.
    """
    named: Any = {"text": text, "pair": pair, "label": label, "task": task, "sheet": sheet, "encoding": encoding}
    wanted = {"placement.strategy": "evidence", **(settings or {})}
    chosen = configure(base=base, config=config, settings=wanted, **named)
    _require_labels(chosen, "plan")
    from tsugiki.train.planned import plan_adapter

    return plan_adapter(read_splits(rows, chosen.data), chosen)


def advise(
    rows: Any,
    *,
    base: str | Path | None = None,
    text: str | Sequence[str] | None = None,
    pair: str | None = None,
    label: str | None = None,
    task: str | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
    config: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    assumed: Mapping[str, Any] | None = None,
) -> "Advice":
    """Say whether to start at all, with which rows, and what that is worth, from a learning curve of the rows.

    Args:
        rows: as for `train`, like everything below that is not told here.
        base: folder or hub name of the base; None is the built-in encoder.
        text: column of the texts.
        pair: column of the second texts.
        label: column of the labels.
        task: `classify`, `tag` or `grade`.
        sheet: of a workbook.
        encoding: of text files.
        config: a TOML file with the settings of the run.
        settings: single settings over it.
        assumed: what the money rests on, such as `{"wage": 35, "minutes": 6, "cases": 2000}`.

    Raises:
        RowsError: a class has fewer than two rows, or as for `train`.
        ConfigError: an assumption or a setting is wrong.
        MissingError: as for `train`.
    """
    from tsugiki.advise.advice import advise as advise_on
    from tsugiki.advise.worth import Assumptions

    named: Any = {"text": text, "pair": pair, "label": label, "task": task, "sheet": sheet, "encoding": encoding}
    chosen = configure(base=base, config=config, settings=settings, **named)
    _require_labels(chosen, "advise")
    given = parse(Assumptions, dict(assumed or {}), where="advise")
    return advise_on(read_splits(rows, chosen.data), chosen, given)


def load(folder: str | Path, base: str | Base | None = None) -> "Adapter":
    """Load an adapter that was saved, with the base that it names or the one given.

    Raises:
        MissingError: the package or its base is not there.
        PackageError: the package is damaged, belongs to another base, or has no head of classes to answer with; or it
            is a set of adapters, which `load_set` loads.
    """
    from tsugiki.tasks.adapter import Adapter

    return Adapter.load(Path(folder), base)


def load_either(folder: str | Path, base: str | Base | None = None) -> "Adapter | Composed":
    """Whichever of the two a folder holds."""
    from tsugiki.composed.folder import is_set
    from tsugiki.sets import load_set

    return load_set(folder, base) if is_set(folder) else load(folder, base)


def explain(adapter: "Adapter | Composed", text: str) -> "Explanation":
    """Say what made an answer: which modules acted, what each layer brought to it, and what the text is like.

    Args:
        adapter: an adapter, or a set of them.
        text: that is answered.
    """
    from tsugiki.auditing import explain as explaining

    return explaining.explain(adapter, text)


def evaluate(
    adapter: "Adapter",
    rows: Any,
    *,
    split: str = "test",
    text: str | Sequence[str] | None = None,
    pair: str | None = None,
    label: str | None = None,
    domains: str | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
    merge_labels: bool = False,
    target_precision: float | None = None,
) -> "Evaluation":
    """Answer labelled rows, and say how good the answers are.

    Args:
        adapter: that answers.
        rows: as for `train`.
        split: to answer, where the rows have several.
        text: column of the texts; None takes the one of training where it is there, else finds it by name.
        pair: column of the second texts; None likewise.
        label: column of the labels; None likewise.
        domains: column of the domains whose modules are to act; None lets all inputs find out.
        sheet: of a workbook; None takes the only one that is not empty.
        encoding: of text files; None recognises it.
        merge_labels: whether labels that differ in width, case or blanks alone are taken for those of the adapter.
        target_precision: that answers shall have which need no review (0..1); None takes the one of training.

    Raises:
        RowsError: the rows cannot be read, or have no labels.
        MissingError: the rows or their split are not there.
        RoutingError: domains are named, and the adapter has no modules of domains.
    """
    from tsugiki.evaluate import run

    found = read_table(rows, split, Reading(sheet=sheet, encoding=encoding))
    named: Any = {"text": text, "pair": pair, "label": label}
    reading = adapter.reading.fitting(found.columns).over(**named)
    # The column of training is not taken by itself, or every answer would be one of which the domain was given.
    labelled = unlabelled(found, reading.model_copy(update={"domains": domains}))
    if other := usual_spellings(labelled.each_label, adapter.labels):
        if merge_labels:
            labelled = respelled(labelled, other)
        else:
            warn("data.alike_labels", count=len(other), labels=shown(other))
    asked = adapter if labelled.domains is None else run.OfDomains(adapter, labelled.domains)
    return run.evaluate(asked, labelled, adapter.manifest.review, target_precision)


def ablate(
    adapter: "Adapter",
    rows: Any,
    *,
    split: str = "test",
    text: str | Sequence[str] | None = None,
    pair: str | None = None,
    label: str | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
    cache: bool = True,
) -> "Ablation":
    """Measure what each layer, site and module of an adapter brings, and keep that for the next task on its base.

    Args:
        adapter: with modules.
        rows: as for `evaluate`, like all that follow; rows that it was not trained on.
        split: to answer, where the rows have several.
        text: column of the texts.
        pair: column of the second texts.
        label: column of the labels.
        sheet: of a workbook.
        encoding: of text files.
        cache: whether states of the rows may be written to the disk.

    Raises:
        PackageError: the adapter has no module.
        RowsError: the rows cannot be read, or have no label that it knows.
        MissingError: the rows or their split are not there.
    """
    from tsugiki.evaluate import ablation
    from tsugiki.placement.prior import remember

    table = read_table(rows, split, Reading(sheet=sheet, encoding=encoding))
    named: Any = {"text": text, "pair": pair, "label": label}
    labelled = unlabelled(table, adapter.reading.fitting(table.columns).over(**named))
    found = ablation.ablate(adapter, labelled, CacheSettings(enabled=cache))
    remember(found)
    return found


def audit(
    adapter: "Adapter | Composed",
    rows: Any,
    *,
    split: str = "test",
    text: str | Sequence[str] | None = None,
    pair: str | None = None,
    label: str | None = None,
    domains: str | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
) -> "Audit":
    """Find out which modules act on which rows, what each brings, and which of them repeat or hurt each other.

    Args:
        adapter: with modules, or a set of such.
        rows: as for `evaluate`, like all that follow; rows that it was not trained on.
        split: to answer, where the rows have several.
        text: column of the texts.
        pair: column of the second texts.
        label: column of the labels.
        domains: column of the domains; None: activity is told by label.
        sheet: of a workbook.
        encoding: of text files.

    Raises:
        PackageError: there is no module.
        RowsError: the rows cannot be read.
        MissingError: the rows or their split are not there.
    """
    from tsugiki.auditing import audit as auditing

    table = read_table(rows, split, Reading(sheet=sheet, encoding=encoding))
    named: Any = {"text": text, "pair": pair, "label": label, "domains": domains}
    return auditing.audit(adapter, unlabelled(table, adapter.reading.fitting(table.columns).over(**named)))


def receipt(adapter: "Adapter | Composed", text: str) -> "Receipt":
    """What made the answer to a text: digests of base and adapters, modules that fired, what they changed.

    Args:
        adapter: an adapter, or a set of them.
        text: that is answered.
    """
    from tsugiki.auditing import receipts

    return receipts.receipt(adapter, text)


def compare(
    rows: Any,
    methods: Sequence[str],
    *,
    out: str | Path,
    seeds: int = 3,
    base: str | Path | None = None,
    text: str | Sequence[str] | None = None,
    pair: str | None = None,
    label: str | None = None,
    domains: str | None = None,
    task: str | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
    config: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> "Comparison":
    """Train with every method and seed, and lay scores and costs side by side.

    Args:
        rows: as for `train`, with test rows.
        methods: names such as `tsugiki`, `full`, `lora`, `bias`, `probe` and `tfidf`, in the order of the tables;
            `lora-per-task`, `mixed-peft` and `xlora` are for rows with domains.
        out: folder for tables, pictures and the page; runs that are there already are kept.
        seeds: runs of each method.
        base: as for `train`, like all that follow.
        text: column of the texts.
        pair: column of the second texts.
        label: column of the labels.
        domains: column that says from which domain a row is, for methods with modules for each.
        task: what labels are.
        sheet: of a workbook.
        encoding: of text files.
        config: a TOML file with the settings of the run.
        settings: single settings over it.

    Raises:
        RowsError: the rows cannot be learnt from, or there are none to report on.
        ConfigError: there is no such method, or a setting is wrong.
        MissingError: rows, base or config are not there.
        TrainingError: a run failed; what was finished is kept.
    """
    from tsugiki.evaluate import compare as comparing

    named: Any = {"text": text, "pair": pair, "label": label, "task": task, "sheet": sheet, "encoding": encoding}
    named["domains"] = domains
    chosen = configure(base=base, config=config, settings=settings, **named)
    _require_labels(chosen, "compare")
    dataset = Path(rows).stem if isinstance(rows, str | os.PathLike) else type(rows).__name__
    return comparing.compare(
        read_splits(rows, chosen.data),
        dataset=dataset,
        methods=methods,
        out=Path(out),
        seeds=seeds,
        base=chosen.base,
        config=chosen,
    )


def graft(
    model: nn.Module,
    *,
    boundary: int | None = None,
    sites: Sequence[str] | None = None,
    form: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> "Grafted":
    """Put fresh modules on a model that is loaded already, for a training loop of another library.

        grafted = tsugiki.graft(model, boundary=8)
        Trainer(model, arguments, train_dataset=rows).train()
        grafted.save("billing", tokenizer)

    Without the prefix cache: such a loop runs all layers in every step, where `train` runs the frozen ones once.

    Args:
        model: of transformers; only the modules, and a head of its task, learn from here on.
        boundary: first layer with modules; None: two thirds of the layers are below it.
        sites: of each such layer; None, as `linear`, takes all its projections.
        form: `{kind, ...}` of every module; None takes that of `train`.
        seed: of the fresh modules, which change nothing until they are trained.

    Raises:
        ConfigError: the boundary is not below the last layer, or the form is not known.
        BaseModelError: the model has no layers that can be told apart, or a layer has no such site.
        RoutingError: the model is grafted already.
    """
    from tsugiki.adapt.grafted import Grafted

    usual = PlacementSettings()
    asked = {"boundary": boundary, "sites": tuple(sites or usual.sites), "form": dict(form or usual.form)}
    anatomy = find_anatomy(model)
    (plan,) = parse(Top, asked, where="tsugiki.graft").plans(anatomy)
    grafted = Grafted(model, anatomy, plan.grafts, seed)
    layers = sorted({graft.layer for graft in plan.grafts})
    told = {"modules": len(plan.grafts), "boundary": layers[0], "last": layers[-1], "layers": anatomy.num_layers}
    notify("graft.uncached", **told, parameters=grafted.num_trainable)
    return grafted


def attach(model: nn.Module | AdaptedModel, *folders: str | Path) -> AdaptedModel:
    """Attach saved adapters to a model that is loaded already, each under its own name.

        adapted = tsugiki.attach(model, "billing", "returns")
        with adapted.using("billing"):
            model(**inputs)

    Only the modules are attached; a head of classes stays with `load`. Attaching to what is attached adds to it.

    Raises:
        PackageError: an adapter was trained on another base, or has no modules.
        RoutingError: a name is taken.
    """
    packages = [load_package(Path(folder)) for folder in folders]
    adapted = model if isinstance(model, AdaptedModel) else AdaptedModel(model, find_anatomy(model))
    digests = tuple(layer_digests(adapted.model, adapted.anatomy))
    for package, folder in zip(packages, folders, strict=True):
        if not package.manifest.placement.modules:
            raise PackageError("cli.nothing_to_attach", package=package.manifest.name, folder=folder)
        require_ungrouped(package, "attach")
        check_base(package, _described(adapted, digests, package))
    for package in packages:
        adapted.attach(package.manifest.name, package.grafts, package.part("modules"))
    return adapted


def configure(
    *,
    base: str | Path | None = None,
    parent: Package | None = None,
    text: str | Sequence[str] | None = None,
    pair: str | None = None,
    label: str | None = None,
    domains: str | None = None,
    task: str | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
    config: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Config:
    """The settings of a run: those of its parent, a file over them, single settings, and what was named over all."""
    columns = {"text": text, "pair": pair, "label": label, "task": task, "sheet": sheet, "encoding": encoding}
    columns["domains"] = domains
    named = {"base": base, **{f"data.{name}": value for name, value in columns.items()}}
    # As TOML strings, since a column may be called 2024.
    plain = {k: str(v) if isinstance(v, str | Path) else list(v) for k, v in named.items() if v is not None}
    strings = {key: json.dumps(value, ensure_ascii=False) for key, value in plain.items()}
    from tsugiki.train.continued import settings_of

    usual = settings_of(parent) if parent is not None else {}
    return read_config(None if config is None else Path(config), {**(settings or {}), **strings}, usual)


def _require_labels(config: Config, use: str) -> None:
    """Refuse a task that is answered with texts where only labels are known yet.

    Raises:
        ConfigError: it is one.
    """
    from tsugiki.writing.writing import writes

    if writes(config.data.task):
        raise ConfigError("writing.not_yet", use=use, task=config.data.task)


def _described(adapted: AdaptedModel, digests: tuple[str, ...], package: Package) -> Base:
    """The model as a base; its tokenizer is the user's affair and so taken for the right one."""
    config: Any = adapted.model.config
    return Base(
        name=str(getattr(config, "name_or_path", "") or type(adapted.model).__name__),
        model=adapted.model,
        tokenizer=None,
        anatomy=adapted.anatomy,
        num_layers=adapted.anatomy.num_layers,
        layer_digests=digests,
        tokenizer_digest=package.manifest.base.tokenizer_digest,
    )
