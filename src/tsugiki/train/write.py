"""From rows to a writer: what is checked and found out before anything is trained."""

from dataclasses import replace
from typing import Any

import torch

from tsugiki.adapt.package import Package
from tsugiki.adapt.package_checks import check_base, require_ungrouped
from tsugiki.adapt.reader import READERS
from tsugiki.base.kernels import lean_kernels
from tsugiki.base.legible import require_legible
from tsugiki.base.model import Base, load_base
from tsugiki.base.vocabulary import Vocabulary
from tsugiki.data.rows import Rows, Splits
from tsugiki.data.split import stratified_split
from tsugiki.data.texts import clip
from tsugiki.errors import BaseModelError, ConfigError, PackageError, RowsError
from tsugiki.i18n import notify
from tsugiki.placement.budget import Budget
from tsugiki.placement.plan import Informed, Plan
from tsugiki.spec import digest
from tsugiki.train.config import Config
from tsugiki.train.folder import run_folder
from tsugiki.train.planning import strategy_of
from tsugiki.train.trackers import require_trackers
from tsugiki.train.writing_run import TrainedWriter, WritingRun
from tsugiki.writing.marker import end_token, named_token
from tsugiki.writing.wording import Wording, asked, plain_tokens
from tsugiki.writing.writing import WRITINGS, Writing

# Of the context, where nothing else is said; of that, answers have half at most.
MAX_LENGTH = 512
# Rows behind which the end marker is looked for.
_ASKED = 64
_FEWEST = 4
# Where nobody says otherwise: small steps, and many of them; `explanation/measurements` has the figures.
_USUAL: dict[str, Any] = {"batch_rows": 8, "learning_rate": 2e-3}


def train_writer(splits: Splits, config: Config, parent: Package | None = None) -> TrainedWriter:
    """Train modules on rows with a source and a target.

    Args:
        splits: rows, whose labels are the targets; validation is split off where there is none.
        config: all settings.
        parent: package to go on from, whose placement is kept.

    Raises:
        RowsError: there are too few rows, or a target is empty.
        MissingError: the base is not there.
        BaseModelError: the base cannot write.
        ConfigError: no end marker, a prompt that has no room, or a wrong setting.
        TrainingError: the loss is not a number.
        PackageError: the package to go on from is of another base, or has groups of modules.
    """
    require_trackers(config.train.trackers)
    _require_known(config, parent)
    usual = {name: value for name, value in _USUAL.items() if name not in config.train.model_fields_set}
    config = config.model_copy(update={"train": config.train.model_copy(update=usual)})
    writing = WRITINGS.parse({"kind": config.data.task, **config.writing.model_dump(include={"prompt", "metric"})})
    train, held = _parts(splits, config)
    # An encoder would be said to lack the weights of a head that it never had.
    lowest = load_base(config.base, precision=config.precision, exit=1)
    if not lowest.anatomy.causal:
        raise BaseModelError("base.cannot_write", name=lowest.name)
    base = load_base(config.base, precision=config.precision, head=True)
    vocabulary = Vocabulary(base)
    for texts in (train.texts, train.labels or ()):
        require_legible(base, texts, base.max_length, force=config.data.illegible == "warn")
    wording = wording_of(base, writing, train, config)
    if parent is not None:
        check_base(parent, base)
    plans = _plans(config, base) if parent is None else [_again(parent)]
    key = digest([config.model_dump(mode="json", exclude={"name", "licence", "usage_terms", "cache"})])
    parts = (train.digest(), held.digest(), base.digest, str(base.dtype), parent and parent.digest)
    with lean_kernels(base.dtype), run_folder(digest([key, *parts])[:16]) as folder:
        return WritingRun(config, base, vocabulary, wording, plans, train, held, folder, parent).trained()


def wording_of(base: Base, writing: Writing, train: Rows, config: Config) -> Wording:
    """How a base is asked, from the rows that it is to learn.

    Raises:
        ConfigError: no end marker is known, or the prompt leaves no room.
    """
    longest = min(config.data.max_length or MAX_LENGTH, base.max_length)
    targets = [plain_tokens(base, target) for target in train.labels or ()]
    wanted = config.writing.max_new or min(longest // 2, max(map(len, targets)) + 1)
    if config.writing.end is not None:
        end = named_token(base, config.writing.end)
    else:
        step = max(1, len(train) // _ASKED)
        finished = [
            [*asked(base, writing, clip(source, longest)), *target][-longest:]
            for source, target in zip(train.texts[::step], targets[::step], strict=True)
        ]
        end = end_token(base, finished)
        notify("writing.end", token=base.tokenizer.convert_ids_to_tokens(end))
    return Wording(base, writing, end, longest - wanted, wanted)


def _parts(splits: Splits, config: Config) -> tuple[Rows, Rows]:
    """Training and validation rows, all with a target."""
    train = splits.train
    if train is None or train.labels is None or len(train) < _FEWEST:
        raise RowsError("writing.few_rows", found=0 if train is None else len(train), allowed=_FEWEST)
    if splits.validation is None:
        share = config.data.validation_share
        kept, out = stratified_split([""] * len(train), share, config.train.seed, groups=train.texts)
        train, splits = train.take(kept), replace(splits, validation=train.take(out))
    held = splits.validation
    assert held is not None
    if not len(held):
        raise RowsError("writing.few_rows", found=len(train), allowed=_FEWEST)
    if config.train.max_rows is not None and config.train.max_rows < len(train):
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(config.train.seed))
        train = train.take(sorted(order[: config.train.max_rows].tolist()))
    return train, held


def _require_known(config: Config, parent: Package | None) -> None:
    """Refuse settings that adapters that write take no notice of yet, and a package without a module to go on from.

    Raises:
        ConfigError: one of them is set.
        PackageError: the package has no modules.
    """
    unknown = {
        "budget": config.budget != Budget(),
        "routing.anonymous": bool(config.routing.anonymous),
        "data.domains": config.data.domains is not None,
        "data.pair": config.data.pair is not None,
        "placement.exit": config.placement.exit is not None,
    }
    if found := [name for name, given in unknown.items() if given]:
        raise ConfigError("writing.unknown_setting", found=", ".join(found))
    if parent is not None and not parent.grafts:
        raise PackageError("package.not_trained_here", package=parent.manifest.name)


def _plans(config: Config, base: Base) -> list[Plan]:
    """Placements to try, from the highest boundary to the lowest."""
    strategy = strategy_of(config)
    if isinstance(strategy, Informed):
        raise ConfigError("writing.no_strategy", found=strategy.kind)
    if config.placement.strategy != "race":
        return [plan for plan in strategy.plans(base.anatomy) if plan.grafts]
    last = base.num_layers
    boundaries = sorted({last - max(1, last // 3), last // 2, 0}, reverse=True)
    if config.placement.boundary is not None:
        boundaries = [config.placement.boundary]
    return [strategy.suffix(base.anatomy, boundary) for boundary in boundaries]


def _again(parent: Package) -> Plan:
    """The placement of a package as a plan that starts from its modules."""
    require_ungrouped(parent, "train --from")
    variant = parent.manifest.variant.removesuffix(" again") + " again"
    tensors = {name: tensor for name, tensor in parent.tensors.items() if name.startswith("modules.")}
    reader, states = READERS.parse({"kind": "mean"}), (parent.manifest.base.num_layers,)
    return Plan(variant, states, reader, tuple(parent.grafts), params=tensors)
