"""Which candidate wins."""

from dataclasses import replace

import torch

from tsugiki.manifest import HeadFacts, Placement
from tsugiki.tasks.kinds.classify import Classify
from tsugiki.train.candidate import Candidate
from tsugiki.train.choice import best_of

ROWS, CLASSES = 60, 3
TASK = Classify(labels=("a", "b", "c"))


def candidate(name, logits):
    nowhere = Placement(boundary=0, exit=0)
    return Candidate(name, 0.0, 0.0, 1.0, 0.0, 1, (), nowhere, HeadFacts(), {}, logits)


def rows(right, strength=2.0, seed=0):
    """Classes, and logits that are right on so many of the rows, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(0, CLASSES, (ROWS,), generator=torch.Generator().manual_seed(1))
    said = torch.where(torch.arange(ROWS) < right, classes, (classes + 1) % CLASSES)
    logits = strength * torch.nn.functional.one_hot(said, CLASSES).float()
    return logits + 0.2 * torch.randn(ROWS, CLASSES, generator=generator), classes


def test_a_clearly_better_candidate_wins_however_dear():
    (poor, classes), (good, _) = rows(30), rows(55)
    made = [candidate("cheap", poor), candidate("dear", good)]
    assert best_of(made, TASK, classes).variant == "dear"
    assert best_of(made[::-1], TASK, classes).variant == "dear"


def test_between_candidates_that_do_not_differ_the_cheaper_wins():
    logits, classes = rows(45)
    # Better on some rows, worse on as many.
    sign = torch.where(torch.arange(ROWS) % 2 == 0, 1.0, -1.0)[:, None]
    other = logits + 0.3 * sign * torch.nn.functional.one_hot(classes, CLASSES)
    assert best_of([candidate("cheap", logits), candidate("dear", logits.clone())], TASK, classes).variant == "cheap"
    assert best_of([candidate("cheap", logits), candidate("dear", other)], TASK, classes).variant == "cheap"


def test_how_sharp_a_candidate_is_does_not_decide():
    (sharp, classes), (mild, _) = rows(50, strength=2.0), rows(50, strength=2.0)
    made = [candidate("mild", mild), candidate("sharp", 3 * sharp)]
    assert best_of(made, TASK, classes).variant == "mild"
    assert best_of(made[::-1], TASK, classes).variant == "sharp"


def reaching(name, score, exit):
    return replace(
        candidate(name, torch.zeros(ROWS, CLASSES)), score=score, placement=Placement(boundary=exit, exit=exit)
    )


def test_where_a_score_is_enough_the_fastest_answer_that_has_it_wins():
    made = [reaching("words", 0.7, 0), reaching("low", 0.8, 2), reaching("high", 0.9, 6)]
    _, classes = rows(30)
    assert best_of(made, TASK, classes, 0.75).variant == "low"
    assert best_of(made, TASK, classes, 0.85).variant == "high"
    assert best_of(made, TASK, classes, 0.6).variant == "words"
    seldom = replace(reaching("seldom", 0.9, 6), runs=0.3)
    assert best_of([*made, seldom], TASK, classes, 0.75).variant == "seldom"
    # Where none has it the usual rule holds: nothing is clearly better than the first.
    assert best_of(made, TASK, classes, 0.95).variant == "words"


def test_rows_of_a_class_that_training_lacks_decide_nothing():
    (poor, classes), (good, _) = rows(30), rows(55)
    made = [candidate("cheap", poor), candidate("dear", good)]
    assert best_of(made, TASK, torch.full_like(classes, -1)).variant == "cheap"
    some = torch.where(torch.arange(ROWS) < 20, classes, -1)
    assert best_of(made, TASK, some).variant == "cheap"  # both are right on the first 30


def test_without_rows_to_choose_by_the_first_wins():
    none = torch.zeros(0, CLASSES)
    assert best_of([candidate("only", none)], TASK, torch.zeros(0, dtype=torch.int64)).variant == "only"
