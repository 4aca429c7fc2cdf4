"""Which texts are nearly the same: by the runs of three characters that they share.

Every text is compared with every other, in a sketch of some hundred numbers, and the few that come near are measured in
full. The sketch is a random projection (Johnson and Lindenstrauss 1984), which keeps cosines up to about a twentieth.
"""

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

LEAST = 0.85
"""Cosine from which on two texts are nearly the same."""
MOST_TEXTS = 20_000
"""Texts that are compared: on one core that takes some ten seconds and half a gigabyte."""

_CHARS = 500  # of each text
_BUCKETS = 2**18
_WIDTH = 512
_SLACK = 0.15  # three standard errors of the sketch
_NEAREST = 5
_BLOCK = 512
_PAIRS = 10_000

Floats = NDArray[np.float32]


def plain(text: str) -> str:
    """A text without width, case and the number of its blanks: what is equal then is a duplicate."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def near_pairs(texts: Sequence[str], least: float = LEAST) -> list[tuple[int, int, float]]:
    """Pairs of texts that are nearly the same, with their cosine; of each text with at most five later ones.

    Args:
        texts: as `plain` leaves them, no two equal (N).
        least: cosine of a pair.
    """
    if len(texts) < 2:
        return []
    features = _features(texts)
    first, second = _candidates(_sketch(features), least - _SLACK)
    cosine = _cosine(features, first, second)
    return [(int(i), int(j), float(c)) for i, j, c in zip(first, second, cosine, strict=True) if c >= least]


def _features(texts: Sequence[str]) -> sparse.csr_array:
    """Which runs of characters a text has, as a vector of length 1 (N, F)."""
    shared = {"n_features": _BUCKETS, "alternate_sign": False, "lowercase": False, "dtype": np.float32}
    kind = HashingVectorizer(analyzer="char", ngram_range=(3, 3), binary=True, norm="l2", **shared)
    return sparse.csr_array(kind.transform([f" {text[:_CHARS]} " for text in texts]))


def _sketch(features: sparse.csr_array) -> Floats:
    """Each feature goes to one of the numbers, with a sign, by chance: (N, W), of length 1."""
    rng = np.random.default_rng(0)
    signs = rng.choice(np.array([-1, 1], np.float32), _BUCKETS)
    places = (signs, (np.arange(_BUCKETS), rng.integers(0, _WIDTH, _BUCKETS)))
    sketch: Floats = (features @ sparse.csr_array(places, shape=(_BUCKETS, _WIDTH))).toarray()
    lengths: Floats = np.linalg.norm(sketch, axis=1, keepdims=True).clip(min=1e-6)
    return sketch / lengths


def _cosine(features: sparse.csr_array, first: NDArray[np.int64], second: NDArray[np.int64]) -> Floats:
    """Of each pair, in full."""
    cosine = np.zeros(len(first), np.float32)
    for start in range(0, len(first), _PAIRS):
        part = slice(start, start + _PAIRS)
        cosine[part] = np.asarray(features[first[part]].multiply(features[second[part]]).sum(axis=1)).ravel()
    return cosine


def _candidates(sketch: Floats, least: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs that may be near, the first of each before the second."""
    first, second = [], []
    for start in range(0, len(sketch), _BLOCK):
        cosine = sketch[start : start + _BLOCK] @ sketch[start:].T
        cosine[np.tril_indices(len(cosine), m=cosine.shape[1])] = -1.0
        few = min(_NEAREST, cosine.shape[1])
        nearest = np.argpartition(cosine, cosine.shape[1] - few, axis=1)[:, -few:]
        rows, at = np.nonzero(np.take_along_axis(cosine, nearest, axis=1) >= least)
        first.append(start + rows)
        second.append(start + nearest[rows, at])
    return np.concatenate(first), np.concatenate(second)
