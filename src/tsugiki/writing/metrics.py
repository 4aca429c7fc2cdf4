"""What an answer is worth beside a reference: scores of one row, and of all together.

A character of a script without spaces (kana, kanji, hangul, Thai) is a word of its own, so that ROUGE and F1 mean
something there too. Case and punctuation do not count, but for exact matches and chrF, which see the text as it is.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

import regex

from tsugiki.data.texts import NORMALISED, UNSPACED, words

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer


def exact_match(answer: str, reference: str) -> float:
    """Whether they are the same but for blanks (0 or 1)."""
    return float(answer.split() == reference.split())


def chrf(answer: str, reference: str) -> float:
    """Character n-grams of one to six (chrF2, Popović 2015) as sacrebleu has it, (0..1)."""
    from sacrebleu import sentence_chrf

    return float(sentence_chrf(answer, [reference]).score) / 100


def rouge_l(answer: str, reference: str) -> float:
    """F1 of the longest common subsequence of words (Lin 2004), (0..1)."""
    return float(_rouge(("rougeL",)).score(reference, answer)["rougeL"].fmeasure)


def token_f1(answer: str, reference: str) -> float:
    """F1 of the words, whatever their order, as SQuAD has it (0..1)."""
    return _f1(words(answer), words(reference))


def item_f1(answer: str, reference: str) -> float:
    """F1 of what stands between `;`, whatever the order and the case (0..1)."""
    return _f1(_items(answer), _items(reference))


METRICS: Mapping[str, Callable[[str, str], float]] = {
    "chrf": chrf,
    "rouge_l": rouge_l,
    "exact_match": exact_match,
    "token_f1": token_f1,
    "item_f1": item_f1,
}


def corpus_scores(answers: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """BLEU and chrF over all rows together, ROUGE-1, -2 and -L, exact matches and word F1 in the mean (all 0..1)."""
    import sacrebleu

    most = max(map(len, references))
    # A row with fewer references than others has its last one again, which changes no count.
    columns = [[own[min(at, len(own) - 1)] for own in references] for at in range(most)]
    cut_by = "char" if any(regex.search(rf"[{UNSPACED}]", text) for own in references for text in own) else "13a"
    found = {
        "bleu": sacrebleu.corpus_bleu(answers, columns, tokenize=cut_by).score / 100,
        "chrf_corpus": sacrebleu.corpus_chrf(answers, columns).score / 100,
    }
    names = ("rouge1", "rouge2", "rougeL")
    scored = [
        max((_rouge(names).score(reference, answer) for reference in own), key=lambda s: s["rougeL"].fmeasure)
        for answer, own in zip(answers, references, strict=True)
    ]
    for name in names:
        found[name.lower().replace("rouge", "rouge_")] = _mean(one[name].fmeasure for one in scored)
    for metric in (exact_match, token_f1):
        found[metric.__name__] = _mean(
            max(metric(answer, reference) for reference in own) for answer, own in zip(answers, references, strict=True)
        )
    return {name: float(value) for name, value in found.items()}


class _Words:
    """Our words, as `rouge_score` wants a tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


@cache
def _rouge(names: tuple[str, ...]) -> "RougeScorer":
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(names), tokenizer=_Words())


def _items(text: str) -> list[str]:
    plain = unicodedata.normalize(NORMALISED, text).lower()
    return [" ".join(item.split()) for item in plain.split(";") if item.strip()]


def _f1(found: Sequence[str], wanted: Sequence[str]) -> float:
    if not found or not wanted:
        return float(not found and not wanted)
    return 2 * (Counter(found) & Counter(wanted)).total() / (len(found) + len(wanted))


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
