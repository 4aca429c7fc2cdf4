"""The words themselves as features: a baseline without any language model, and a candidate for the head.

Runs of letters and characters within words are counted, weighted by how rare they are, and a linear support vector
machine separates every class from the rest. F is the number of features kept, C of classes, N of rows.
"""

import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.svm import LinearSVC

from tsugiki.spec import Spec

Floats = NDArray[np.float32]
Matrix = sparse.csr_array[np.float32]

STRENGTHS = (
    0.1,
    0.3,
    1.0,
    3.0,
)  # to choose from on validation; the best lay between the first (FAA) and the last (JSICK)

# Japanese has no spaces: a change of script ends a word (ポンプ, の, 油漏, れ), else a sentence would be one word. On
# Japanese inference (jsick_nli) that is 65 % of test rows right instead of 59.
_WORD = r"[\u3040-\u309f]+|[\u30a0-\u30ff]+|[\u3400-\u9fff々]+|[^\W\u3040-\u30ff\u3400-\u9fff々]+"


class LexiconSpec(Spec):
    """Which n-grams are counted.

    Args:
        words: shortest and longest run of words.
        chars: shortest and longest run of characters within a word.
        buckets: hash values per kind of n-gram.
        min_rows: rows an n-gram must occur in to be kept.
    """

    words: tuple[int, int] = (1, 2)
    chars: tuple[int, int] = (2, 5)
    buckets: int = Field(default=2**20, ge=1, le=2**24)
    min_rows: int = Field(default=2, ge=1)


@dataclass(frozen=True)
class Lexicon:
    """A linear classifier of texts.

    Args:
        spec: which n-grams are counted.
        columns: hash columns that are kept, ascending (F,) int32; those of characters follow those of words.
        idf: weight of each by its rarity (F,).
        weight: of each feature for each class (C, F).
        bias: of each class (C,).
    """

    spec: LexiconSpec
    columns: NDArray[np.int32]
    idf: Floats
    weight: Floats
    bias: Floats

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        indicator: NDArray[Any],
        spec: LexiconSpec | None = None,
        *,
        strength: float,
        seed: int,
    ) -> Self:
        """Fit to labelled texts.

        Args:
            texts: N texts, at least one.
            indicator: which classes each has, 0 or 1 (N, C). A class without rows gets the constant margin -1, one that
                all rows have gets 1.
            spec: which n-grams are counted; None for the usual.
            strength: C of the support vector machine, the larger the closer the fit; see `STRENGTHS`.
            seed: of the solver's order of rows.
        """
        return next(cls.path(texts, indicator, (strength,), spec, seed=seed))

    @classmethod
    def path(
        cls,
        texts: Sequence[str],
        indicator: NDArray[Any],
        strengths: Sequence[float],
        spec: LexiconSpec | None = None,
        *,
        seed: int,
    ) -> Iterator[Self]:
        """Fit for each strength in turn, when it is asked for; the texts are counted once. Arguments as of `fit`."""
        spec = spec or LexiconSpec()
        counts = _counts(texts, spec)
        rows_with = np.bincount(counts.indices, minlength=2 * spec.buckets)
        columns = np.flatnonzero(rows_with >= min(spec.min_rows, max(rows_with.max(), 1))).astype(np.int32)
        idf = (1 + np.log((1 + len(texts)) / (1 + rows_with[columns]))).astype(np.float32)
        features = _features(counts, columns, idf, spec)
        for strength in strengths:
            weight, bias = _separate(features, indicator > 0, strength, seed)
            yield cls(spec, columns, idf, weight, bias)

    def scores(self, texts: Sequence[str]) -> Floats:
        """Margins (N, C): above 0 speaks for a class, the largest is the answer."""
        if not texts:  # which the vectoriser cannot take
            return np.zeros((0, len(self.bias)), dtype=np.float32)
        features = _features(_counts(texts, self.spec), self.columns, self.idf, self.spec)
        return np.asarray(features @ self.weight.T + self.bias, dtype=np.float32)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What was learnt, for saving; the weight in half precision, which moves fewer than one answer in 1,000."""
        weight = self.weight.astype(np.float16, order="C")
        return {"columns": self.columns, "idf": self.idf, "weight": weight, "bias": self.bias}

    @classmethod
    def from_tensors(cls, spec: LexiconSpec, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """The lexicon that `tensors()` was taken from.

        Raises:
            KeyError: a tensor is missing.
        """
        columns, idf, bias = tensors["columns"].astype(np.int32), tensors["idf"], tensors["bias"]
        # By columns, as the sparse product wants its transpose: else every call copies it, 4 ms for a single answer.
        weight = tensors["weight"].astype(np.float32, order="F")
        return cls(spec, columns, idf.astype(np.float32), weight, bias.astype(np.float32))


def _counts(texts: Sequence[str], spec: LexiconSpec) -> Matrix:
    """Occurrences of n-grams, words then characters (N, 2 * buckets).

    Hashed instead of looked up in a vocabulary, so that a package holds numbers and no words of anybody's rows.
    """
    # NFKC: half-width katakana and full-width digits are common in Japanese records.
    plain = [unicodedata.normalize("NFKC", text).lower() for text in texts]
    shared = {"n_features": spec.buckets, "alternate_sign": False, "norm": None, "dtype": np.float32}
    kinds = (
        HashingVectorizer(analyzer="word", token_pattern=_WORD, ngram_range=spec.words, lowercase=False, **shared),
        HashingVectorizer(analyzer="char_wb", ngram_range=spec.chars, lowercase=False, **shared),
    )
    return sparse.csr_array(sparse.hstack([kind.transform(plain) for kind in kinds], format="csr"))


def _features(counts: Matrix, columns: NDArray[np.int32], idf: Floats, spec: LexiconSpec) -> Matrix:
    """Kept columns of the counts, weighted (N, F).

    Words and characters are scaled to length 1 apart: of character n-grams there are four to eight times as many, and
    scaled together they drown the words, a point of accuracy on FAA and Japanese inference.
    """
    # Found by bisection: slicing a million columns would take longer than all the rest of one answer.
    at = np.searchsorted(columns, counts.indices).astype(np.int32)
    kept = np.append(columns, -1)[at] == counts.indices
    ends = np.append(0, np.cumsum(kept))[counts.indptr].astype(counts.indptr.dtype)
    at, data = at[kept], (1 + np.log(counts.data[kept])) * idf[at[kept]]
    is_char = at >= np.searchsorted(columns, spec.buckets)
    part = 2 * np.repeat(np.arange(len(ends) - 1), np.diff(ends)) + is_char
    lengths = np.sqrt(np.bincount(part, weights=data**2))
    data = (data / lengths[part]).astype(np.float32)
    return sparse.csr_array((data, at, ends), shape=(counts.shape[0], len(columns)))


def _separate(features: Matrix, indicator: NDArray[np.bool_], strength: float, seed: int) -> tuple[Floats, Floats]:
    """Weight (C, F) and bias (C,) of one-vs-rest support vector machines."""
    counts = indicator.sum(axis=0)
    weight = np.zeros((len(counts), features.shape[1]), dtype=np.float32, order="F")  # see `from_tensors`
    bias = np.where(counts == len(indicator), 1, -1).astype(np.float32)  # the exact solution where all rows are alike
    present = np.flatnonzero((counts > 0) & (counts < len(indicator)))
    if not features.shape[1]:  # nothing to separate by
        bias[counts.argmax()] = 1
    if not len(present) or not features.shape[1]:
        return weight, bias
    machine = LinearSVC(C=strength, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fit that stopped early is judged by its score as well
        # Few rows of many classes make no regression.
        warnings.filterwarnings("ignore", message="The number of unique classes")
        if (indicator.sum(axis=1) == 1).all():
            # All classes in one call, which reads the features once.
            machine.fit(features, indicator.argmax(axis=1))
            # With two classes sklearn fits one machine, for the second.
            both = len(present) == 2
            weight[present] = np.concatenate([-machine.coef_, machine.coef_]) if both else machine.coef_
            bias[present] = np.concatenate([-machine.intercept_, machine.intercept_]) if both else machine.intercept_
            return weight, bias
        for at in present.tolist():
            machine.fit(features, indicator[:, at])
            weight[at], bias[at] = machine.coef_[0], machine.intercept_[0]
    return weight, bias
