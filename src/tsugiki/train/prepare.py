"""Everything that stands before anything is computed: rows that can be learnt from, the task, the base."""

from dataclasses import dataclass

from tsugiki.adapt.package import Package
from tsugiki.adapt.package_checks import check_base
from tsugiki.base.legible import require_legible
from tsugiki.base.model import Base, load_base
from tsugiki.base.tokens import MAX_LENGTH
from tsugiki.data.checks import check, require_learnable
from tsugiki.data.rows import Rows, Splits
from tsugiki.data.spelling import merged
from tsugiki.data.split import subsample, with_validation
from tsugiki.errors import ConfigError, RowsError
from tsugiki.i18n import warn
from tsugiki.spec import digest
from tsugiki.tasks.task import Task, task_for
from tsugiki.train.config import Config
from tsugiki.train.continued import with_labels_of


@dataclass(frozen=True)
class Prepared:
    """What a run begins with.

    Args:
        config: of the run, with the task that was found.
        task: what is answered, before anything is chosen on validation.
        train: training rows.
        held: validation rows; none where there are too few rows to hold some out.
        base: the base.
        max_length: tokens per row at most.
        parent: package to go on from.
    """

    config: Config
    task: Task
    train: Rows
    held: Rows
    base: Base
    max_length: int
    parent: Package | None = None

    @property
    def key(self) -> str:
        """What decides the outcome: equal settings, rows, base and parent find a run again that was killed."""
        settings = self.config.model_dump(mode="json", exclude={"name", "licence", "usage_terms", "cache"})
        rows = [self.train.digest(), self.held.digest()]
        base = [self.base.digest, str(self.base.dtype), self.parent and self.parent.digest]
        return digest([settings, *rows, *base])[:16]


def prepare(splits: Splits, config: Config, parent: Package | None = None) -> Prepared:
    """Check rows, find the task, load the base.

    Args:
        splits: rows; validation is split off where there is none.
        config: all settings.
        parent: package to go on from, whose labels stay.

    Raises:
        RowsError: the rows cannot be learnt from, or the base cannot read them.
        MissingError: the base is not there.
        BaseModelError: the base cannot be grafted on.
        PackageError: the package to go on from is of another base.
    """
    splits = merged(splits, _known(config, parent)) if config.data.merge_labels else splits
    require_learnable(splits)
    for finding in check(splits):
        warn(finding.code, **finding.facts)
    train, held = _sampled(splits, config)
    task = task_for(train, config.data)
    if parent is not None:
        task = with_labels_of(parent, task, train)
    # What was found out is kept, so that rows to be evaluated are read alike.
    config = config.model_copy(update={"data": config.data.model_copy(update={"task": task.kind})})
    base = load_base(config.base, precision=config.precision)
    if parent is not None:
        check_base(parent, base)
    if parent is not None and not len(held):
        raise RowsError("train.nothing_to_go_on_by", rows=len(train))
    max_length = min(config.data.max_length or MAX_LENGTH, base.max_length)
    require_legible(base, train.texts, max_length, force=config.data.illegible == "warn")
    return Prepared(config, task, train, held, base, max_length, parent)


def _known(config: Config, parent: Package | None) -> tuple[str, ...]:
    """Spellings of labels that hold whatever the rows say."""
    return config.data.grades or (tuple(parent.manifest.task["labels"]) if parent is not None else ())


def _sampled(splits: Splits, config: Config) -> tuple[Rows, Rows]:
    """Training rows, at most as many as wanted, and validation rows."""
    splits = with_validation(splits, share=config.data.validation_share, seed=config.train.seed)
    train = splits.train
    assert train is not None and train.labels is not None
    wanted = config.train.max_rows
    if wanted is not None and wanted < len(train):
        few = train.take(subsample(train.strata, wanted, config.train.seed))
        if len(set(few.labels or ())) < 2:
            raise ConfigError("train.max_rows", found=wanted, classes=len(train.classes))
        train = few
    return train, splits.validation or Rows((), (), train.several)
