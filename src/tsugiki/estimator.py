"""tsugiki as an estimator of scikit-learn, for pipelines, cross-validation and searches."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from tsugiki.api import train
from tsugiki.data.texts import readable
from tsugiki.errors import ConfigError, RowsError
from tsugiki.tasks.adapter import Adapter


class TsugikiClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A classifier of texts: `tsugiki.train` behind `fit`.

    Settings are parameters as well, under their dotted names, so a search goes over them:

        GridSearchCV(TsugikiClassifier(), {"train.epochs": [2, 6]})

    States of the frozen layers are kept between fits, so folds and candidates of a search do not compute them again.
    Pickled, a fitted classifier holds its package and not the base, which is loaded again where it first answers.

    Args:
        base: folder or hub name of the base; None is the built-in encoder.
        config: a TOML file with the settings of the run.
        settings: single settings over it, such as `{"train.max_rows": 2000}`.

    Attributes:
        classes_: the classes as `y` had them, sorted, (C,).
        adapter_: the adapter that was trained; `adapter_.save(folder)` keeps it for all else that tsugiki does.
    """

    def __init__(
        self,
        base: str | Path | None = None,
        config: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.base = base
        self.config = config
        self.settings = settings

    def fit(self, X: Sequence[str] | ArrayLike, y: ArrayLike) -> "TsugikiClassifier":
        """Train an adapter.

        Args:
            X: texts, a list, column or array of N.
            y: the class of each, (N,).

        Raises:
            RowsError: X holds no texts in one dimension, or nothing can be learnt from them.
            ValueError: y is no column of N classes.
            ConfigError: a setting is wrong.
            MissingError: base or config are not there.
        """
        texts = _texts(X)
        labels = column_or_1d(y, warn=True)
        check_classification_targets(labels)
        check_consistent_length(texts, labels)
        encoder = LabelEncoder().fit(labels)
        names = _names(encoder.classes_)
        settings = {"data.task": "classify", **(self.settings or {})}
        if settings["data.task"] == "tag":
            raise ConfigError("estimator.tags")
        rows = [(text, names[i]) for text, i in zip(texts, encoder.transform(labels), strict=True)]
        self._adapter: Adapter | None = train(rows, base=self.base, config=self.config, settings=settings)
        self.classes_: NDArray[Any] = encoder.classes_
        return self

    @property
    def adapter_(self) -> Adapter:
        """The adapter that was trained."""
        check_is_fitted(self)
        if self._adapter is None:
            package, precision = self._packed
            self._adapter = Adapter.on_base(package, precision=precision)
        return self._adapter

    def predict(self, X: Sequence[str] | ArrayLike) -> NDArray[Any]:
        """The class of each text, (N,): the most probable one, or the median where classes are grades.

        Raises:
            NotFittedError: `fit` was not called.
            RowsError: X holds no texts in one dimension.
        """
        probabilities = torch.from_numpy(self.predict_proba(X))
        names = _names(self.classes_)
        places = [names.index(label) for label in self.adapter_.labels if label in names]
        task = self.adapter_.task.model_copy(update={"labels": tuple(names[at] for at in places)})
        chosen = task.choose(probabilities[:, places].clamp(min=1e-300).log())
        found: NDArray[Any] = self.classes_[np.array(places)[chosen.numpy()]]
        return found

    def predict_proba(self, X: Sequence[str] | ArrayLike) -> NDArray[np.float64]:
        """Calibrated probabilities, (N, C), in the order of `classes_`.

        Raises:
            NotFittedError: `fit` was not called.
            RowsError: X holds no texts in one dimension.
        """
        check_is_fitted(self)
        scores = self.adapter_.scores(_texts(X)).astype(np.float64)
        # A class whose only texts are empty is none of the adapter's, and never the answer.
        found = np.zeros((len(scores), len(self.classes_)))
        names = _names(self.classes_)
        # Nor is a grade that no row has one of ours.
        known = [at for at, label in enumerate(self.adapter_.labels) if label in names]
        found[:, [names.index(self.adapter_.labels[at]) for at in known]] = softmax(scores, axis=1)[:, known]
        return found

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name; deep, also each setting with a dotted name."""
        params: dict[str, Any] = super().get_params(deep)
        return params | (_dotted(self.settings) if deep else {})

    def set_params(self, **params: Any) -> "TsugikiClassifier":
        """Set parameters, or settings by their dotted names.

        Raises:
            ValueError: there is no such parameter.
        """
        dotted = _dotted(params)
        super().set_params(**{name: value for name, value in params.items() if name not in dotted})
        if dotted:
            self.settings = {**(self.settings or {}), **dotted}
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the base."""
        state = dict(super().__getstate__())
        if (adapter := state.get("_adapter")) is not None:
            precision = "bf16" if adapter.base is not None and adapter.base.dtype is torch.bfloat16 else "fp32"
            state |= {"_adapter": None, "_packed": (adapter.package, precision)}
        return state

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn is to know: X is texts in one dimension."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags


def _texts(X: Any) -> list[str]:
    if isinstance(X, str):
        raise RowsError("estimator.one_text")
    shape = getattr(X, "shape", None)
    if shape is not None and len(shape) != 1:
        raise RowsError("estimator.shape", found=tuple(shape))
    texts = list(X)
    for item, text in enumerate(texts):
        if not isinstance(text, str):
            raise RowsError("estimator.not_text", item=item, found=type(text).__name__)
    # numpy has texts of its own kind.
    return [str(text) for text in texts]


def _names(classes: NDArray[Any]) -> list[str]:
    """What the adapter calls the classes: as rows are read, without blanks around them."""
    names = [readable(str(label)).strip() for label in classes.tolist()]
    for name in names:
        if names.count(name) > 1:
            raise RowsError("estimator.labels_alike", label=repr(name))
    return names


def _dotted(settings: Any) -> dict[str, Any]:
    # Whether settings are settings at all is seen where they are used, as scikit-learn wants it.
    return {name: value for name, value in settings.items() if "." in name} if isinstance(settings, Mapping) else {}
