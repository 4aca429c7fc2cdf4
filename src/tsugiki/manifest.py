"""What a package says of itself: `adapter.json`.

Torch-free: forms and readers are kept as opaque `{kind, ...}` and validated when they are loaded. The manifest's bytes
are canonical, so its sha256 is the digest of the package: it names the digest of every tensor.
"""

import hashlib
from typing import Any, Literal

from pydantic import ConfigDict, Field

from tsugiki.review import Review
from tsugiki.spec import Spec, canonical, from_bytes

SCHEMA_VERSION = 1
RouteBy = Literal["sequence", "token"]
# Of a mean, between which it lies in nine of ten cases.
_ERRORS = 1.64


class BaseFacts(Spec):
    """The base that a package belongs to.

    Args:
        name: how it was called when the adapter was trained.
        architecture: class name of the model.
        num_layers: L of the whole base.
        width: d of the residual stream.
        layer_digests: of the embeddings and of each layer, lowest first.
        tokenizer_digest: of the tokenizer.
    """

    name: str
    architecture: str
    num_layers: int
    width: int
    layer_digests: tuple[str, ...]
    tokenizer_digest: str


class ModuleFacts(Spec):
    """One module: where it stands and its form, `{kind, ...}`."""

    layer: int
    site: str
    form: dict[str, Any]


class Placement(Spec):
    """Sites, ranks, boundary and exit together.

    Args:
        boundary: first adapted layer; `exit` where there are no modules.
        exit: first layer that is not run; 0 where no language model is needed.
        modules: all modules.
    """

    boundary: int
    exit: int
    modules: tuple[ModuleFacts, ...] = ()


class GroupFacts(Spec):
    """Modules that act together, beside those that always act.

    Args:
        domain: that they are for; None where they find their inputs by themselves.
        modules: all of them.
    """

    domain: str | None = None
    modules: tuple[ModuleFacts, ...]


class RoutingFacts(Spec):
    """Which groups act on an input, and how that is decided.

    Args:
        route_by: of groups without a domain: `sequence` for one decision per input, `token` for one per token and site.
        router: `{kind, ...}`, the rule.
        groups: those of domains first.
        metrics: how well inputs found their groups, `{name: number}`.
    """

    route_by: RouteBy
    router: dict[str, Any]
    groups: tuple[GroupFacts, ...] = Field(min_length=1)
    metrics: dict[str, float] = Field(default_factory=dict)

    @property
    def domains(self) -> tuple[str, ...]:
        """That have modules of their own."""
        return tuple(group.domain for group in self.groups if group.domain is not None)


class Shortcut(Spec):
    """Where words answer alone, and no language model is run.

    Args:
        threshold: confidence of the words from which on they do (0..1).
        temperature: by which their scores are divided for that.
        scale: by which they are multiplied to stand beside the scores of the others.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    threshold: float = Field(ge=0, le=1)
    temperature: float = Field(gt=0)
    scale: float = Field(gt=0)


class HeadFacts(Spec):
    """What turns states and words into scores.

    Args:
        states: states that are read, ascending; empty where only the words count.
        reader: `{kind, ...}`, how tokens are pooled.
        words: `{...}` of the lexical features, None where they are not used.
        words_share: weight of the lexical scores against those of the states (0..1).
        shortcut: where the words answer alone; None where they never do.
        temperature: by which scores are divided, so that probabilities mean what they say.
    """

    states: tuple[int, ...] = ()
    reader: dict[str, Any] = Field(default_factory=lambda: {"kind": "mean"})
    words: dict[str, Any] | None = None
    words_share: float = 0.0
    shortcut: Shortcut | None = None
    temperature: float = Field(default=1.0, gt=0)


class DataFacts(Spec):
    """Which rows an adapter saw, without a word of them.

    Args:
        rows_digest: of the training rows.
        num_train: rows trained on.
        num_validation: rows held out.
        class_counts: training rows of each label.
    """

    rows_digest: str
    num_train: int
    num_validation: int
    class_counts: dict[str, int]


class Forecast(Spec):
    """A cost as it was foretold before training, and as it came out."""

    predicted: float
    measured: float


class Control(Spec):
    """How a chosen placement did beside one of the same cost that was not chosen.

    Args:
        variant: of the control.
        chosen: variant that was chosen.
        passes: over the rows, after which both were measured.
        gain: loss on a validation row that the choice saves against the control, in the mean.
        error: standard error of that mean, over rows.
        num_rows: of validation.
    """

    variant: str
    chosen: str
    passes: int
    gain: float
    error: float
    num_rows: int

    @property
    def margin(self) -> float:
        """Half the width of the interval in which the gain lies in nine of ten cases."""
        return _ERRORS * self.error

    @property
    def verdict(self) -> Literal["better", "worse", "even"]:
        """What can be said of the choice beyond the chance of the rows."""
        if abs(self.gain) <= self.margin:
            return "even"
        return "better" if self.gain > 0 else "worse"


class Manifest(Spec):
    """A package in one file.

    Args:
        schema_version: of this format.
        name: of the adapter.
        tsugiki_version: that wrote it.
        task: `{kind, labels, max_length}`.
        base: the base it belongs to.
        placement: where its modules stand.
        head: what reads them.
        variant: which candidate won, such as `suffix 4/6`.
        routing: of groups of modules that act on some inputs only; None where all modules always act.
        training: the configuration of the run, with its seed.
        data: the rows.
        metrics: scores and costs, `{name: number}`.
        review: from which confidence on answers may be used unseen; None where no row was held out.
        candidates: every candidate of the race with its score and cost.
        forecasts: what placements that were chosen were to cost, by variant and name of the cost.
        controls: what a placement that was chosen was measured against.
        licence: SPDX expression of the adapter.
        usage_terms: what else its user must keep to.
        parents: digests of the packages it came from.
        tensors: sha256 of each tensor's bytes, by name.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    tsugiki_version: str
    task: dict[str, Any]
    base: BaseFacts
    placement: Placement
    head: HeadFacts
    variant: str
    routing: RoutingFacts | None = None
    training: dict[str, Any]
    data: DataFacts
    metrics: dict[str, float]
    review: Review | None = None
    candidates: tuple[dict[str, Any], ...] = ()
    forecasts: dict[str, dict[str, Forecast]] = Field(default_factory=dict)
    controls: tuple[Control, ...] = ()
    licence: str | None = None
    usage_terms: str | None = None
    parents: tuple[str, ...] = ()
    tensors: dict[str, str] = Field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical(self.model_dump(mode="json"))

    def digest(self) -> str:
        """Digest of the package: sha256 of `to_bytes()`, as hexadecimal."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, content: bytes, *, path: object) -> "Manifest":
        """Read a manifest.

        Raises:
            PackageError: not JSON, another schema, unknown or missing fields, or bytes that are not canonical.
        """
        return from_bytes(cls, content, schema=SCHEMA_VERSION, path=path)
