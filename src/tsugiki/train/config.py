"""The settings of one run: one TOML file, one section of the manifest."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from tsugiki.base.upkeep import CacheSettings
from tsugiki.data.reading import Reading
from tsugiki.errors import ConfigError, MissingError, place_of
from tsugiki.manifest import RouteBy
from tsugiki.placement.budget import Budget
from tsugiki.spec import Spec, parse


class DataSettings(Reading):
    """How rows are read, and how much of them is used.

    Args:
        validation_share: of the training rows, held out where there is no validation file (0..1).
        illegible: `stop` or `warn` where the base cannot read the rows.
        merge_labels: whether labels that differ in width, case or blanks alone are one, in the spelling used most.
        max_length: longest input in tokens; the rest is cut. None: 256, or what the base allows if that is less.
    """

    validation_share: float = Field(default=0.15, gt=0, lt=1)
    illegible: Literal["stop", "warn"] = "stop"
    merge_labels: bool = False
    max_length: PositiveInt | None = None


class PlacementSettings(Spec):
    """Where modules stand.

    Args:
        strategy: `race` tries head, readout and two boundaries; `uniform` and `top` place modules as given here;
            `evidence` chooses boundary, exit, sites and ranks by the rows and the budget.
        boundary: first adapted layer; None: two thirds of the layers are below it (`uniform`: none are).
        exit: first layer that is not run; None runs all.
        sites: of each adapted layer; `linear` stands for all its projections.
        form: `{kind, ...}` of every module.
        prior: an `ablation.json` of the same base to go by where the rows tell nothing; None takes those kept at home.
    """

    strategy: str = "race"
    boundary: NonNegativeInt | None = None
    exit: PositiveInt | None = None
    sites: tuple[str, ...] = Field(default=("linear",), min_length=1)
    form: dict[str, Any] = Field(default_factory=lambda: {"kind": "low_rank", "rank": 8})
    prior: str | None = None


class RoutingSettings(Spec):
    """Modules that act on some inputs only: those of domains, where rows name one, and those of no domain.

    Args:
        route_by: of groups that no domain owns: `sequence` decides once for an input, `token` for each of its tokens at
            each site. Of domains it is always decided once.
        router: `{kind, ...}`, the rule by which groups act whose gates want them.
        form: `{kind, ...}` of every module of a group.
        anonymous: groups that no domain owns.
        losses: `{kind, ...}` that gates are held to beside the task.
    """

    route_by: RouteBy = "sequence"
    router: dict[str, Any] = Field(default_factory=lambda: {"kind": "threshold"})
    form: dict[str, Any] = Field(default_factory=lambda: {"kind": "low_rank", "rank": 4})
    anonymous: NonNegativeInt = 0
    losses: tuple[dict[str, Any], ...] = ({"kind": "sparsity"}, {"kind": "z"}, {"kind": "balance"})


class WritingSettings(Spec):
    """How a base is asked that is to write.

    Args:
        prompt: with `{source}` in it; None takes the chat template of the base, or the one of the task.
        metric: by which answers are judged; None takes the one of the task.
        end: token that ends an answer; None takes the one that the base itself expects where a text is over.
        max_new: tokens of an answer at most; None: those of the longest target, or half of the context.
    """

    prompt: str | None = None
    metric: str | None = None
    end: str | None = None
    max_new: PositiveInt | None = None


class TrainSettings(Spec):
    """How modules are trained.

    Args:
        seed: of everything that is random.
        max_rows: training rows used at most, drawn by class.
        words: whether the words are tried, alone and beside the states; formats of other libraries cannot hold them.
        epochs: passes over the training rows at most; validation ends a run earlier. None: as many as make 200 steps,
            from three to six; the rate falls with them, and rows that are passed over more often are learnt by heart.
        patience: passes without a better validation score than an earlier pass before a run ends; modules disturb the
            head they start from before they help, so the start does not count.
        learning_rate: of modules, at its peak.
        reader_learning_rate: of readers, at its peak.
        head_learning_rate: of the head, at its peak.
        warmup_share: of all steps, in which the rate rises (0..1).
        weight_decay: on the change that modules make.
        module_dropout: chance that a module is left out for a row (0..1).
        batch_tokens: tokens per batch, padding included.
        batch_rows: rows per batch at most.
        checkpoint_s: seconds between checkpoints.
        target_precision: that answers shall have which no person looks at (0..1).
        trackers: of accelerate, such as `tensorboard` or `mlflow`.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    # Both numpy and scikit-learn take 32 bits and no sign.
    seed: int = Field(default=0, ge=0, lt=2**32)
    max_rows: PositiveInt | None = None
    words: bool = True
    epochs: PositiveInt | None = None
    patience: PositiveInt = 2
    learning_rate: PositiveFloat = 3e-3
    reader_learning_rate: PositiveFloat = 1e-2
    head_learning_rate: PositiveFloat = 1e-3
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    weight_decay: NonNegativeFloat = 0.01
    module_dropout: float = Field(default=0.1, ge=0, lt=1)
    batch_tokens: PositiveInt = 1024
    batch_rows: PositiveInt = 32
    checkpoint_s: PositiveFloat = 30.0
    target_precision: float = Field(default=0.95, gt=0, lt=1)
    trackers: tuple[str, ...] = ()


class Config(Spec):
    """Everything that decides a run.

    Args:
        base: folder or hub name of the base; None is the built-in encoder.
        name: of the adapter; None takes the folder's.
        precision: `auto` measures which is faster on this machine.
        licence: SPDX expression for the adapter.
        usage_terms: what else its user must keep to.
        data: columns and rows.
        placement: where modules stand.
        routing: which modules act on which inputs.
        budget: what placements that are chosen may cost.
        writing: how a base is asked that is to write.
        train: how they are trained.
        cache: what is kept between runs.
    """

    base: str | None = None
    name: str | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    licence: str | None = None
    usage_terms: str | None = None
    data: DataSettings = DataSettings()
    placement: PlacementSettings = PlacementSettings()
    routing: RoutingSettings = RoutingSettings()
    budget: Budget = Budget()
    writing: WritingSettings = WritingSettings()
    train: TrainSettings = TrainSettings()
    cache: CacheSettings = CacheSettings()


def read_config(
    path: Path | None = None, settings: Mapping[str, Any] | None = None, usual: Mapping[str, Any] | None = None
) -> Config:
    """Read a TOML file and put single settings over it.

    Args:
        path: of the file; None starts from the defaults.
        settings: values by dotted key, such as `{"train.max_rows": 2000}`; strings are read as TOML where they can be.
        usual: values of sections that hold where neither says another.

    Raises:
        MissingError: the file is not there.
        ConfigError: it is not TOML, or settings are unknown or wrong; all faults are named together.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except (FileNotFoundError, IsADirectoryError) as error:
            raise MissingError("config.missing", path=path) from error
        except UnicodeDecodeError as error:
            raise ConfigError("config.not_utf8", path=path) from error
        except tomllib.TOMLDecodeError as error:
            raise ConfigError("config.not_toml", path=path, reason=place_of(error)) from error
    values = _over(usual or {}, values)
    for key, value in (settings or {}).items():
        _put(values, key.split("."), _literal(value))
    return parse(Config, values, where=str(path or "config"))


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Sections of one put over those of the other, setting by setting; what is chosen by `kind` is taken whole."""
    joined = dict(below)
    for key, value in above.items():
        under = joined.get(key)
        if isinstance(under, Mapping) and isinstance(value, Mapping) and "kind" not in value:
            value = _over(under, value)
        joined[key] = value
    return joined


def _put(values: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        inner = values.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError("config.not_a_section", key=".".join(path), section=part)
        values = inner
    values[path[-1]] = value


def _literal(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value
