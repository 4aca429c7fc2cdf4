"""tsugiki as scikit-learn knows estimators."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import InputTags, get_tags
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from tests.support.bases import tiny_base_folder
from tests.support.runs import LABELS, SETTINGS, easy_rows
from tsugiki import TsugikiClassifier
from tsugiki.errors import ConfigError, MissingError, RowsError

HEAD = {**SETTINGS, "placement.strategy": "head"}
ROWS = easy_rows(60)
TEXTS, ANSWERS = list(ROWS.texts), list(ROWS.labels)


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSUGIKI_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return str(tiny_base_folder(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def fitted(base):
    return TsugikiClassifier(base, settings=SETTINGS).fit(TEXTS, ANSWERS)


# --- fit and predict -------------------------------------------------------------------------------------------------


def test_it_answers_with_the_classes_it_was_given(fitted):
    assert fitted.classes_.tolist() == sorted(LABELS)
    assert set(fitted.predict(TEXTS)) <= set(LABELS)
    assert fitted.score(TEXTS, ANSWERS) > 0.8


def test_probabilities_are_those_of_the_adapter(fitted):
    found = fitted.predict_proba(TEXTS)
    assert found.shape == (60, 3) and found.dtype == np.float64
    np.testing.assert_allclose(found.sum(axis=1), 1)
    answers = fitted.adapter_.predict(TEXTS)
    np.testing.assert_allclose(found.max(axis=1), [a.probability for a in answers], atol=1e-5)
    assert fitted.predict(TEXTS).tolist() == [a.label for a in answers]


@pytest.mark.parametrize("kind", [tuple, np.array, pd.Series, lambda texts: np.array(texts, dtype=object)])
def test_texts_may_come_as_a_list_a_column_or_an_array(fitted, kind):
    np.testing.assert_array_equal(fitted.predict_proba(kind(TEXTS)), fitted.predict_proba(TEXTS))


@pytest.mark.parametrize(
    "classes", [[10, 2, 7], [-1.0, 0.5, 3.0], np.array(["b", "10", "a"], dtype=object), [" a", "b ", "c"]]
)
def test_classes_keep_their_kind_and_order(base, classes):
    y = np.array([classes[LABELS.index(label)] for label in ANSWERS])
    if np.asarray(classes).dtype.kind == "f":  # scikit-learn takes fractions for a regression
        y, classes = y.astype(str), [str(c) for c in classes]
    found = TsugikiClassifier(base, settings=HEAD).fit(TEXTS, y)
    assert found.classes_.tolist() == sorted(classes)
    assert found.classes_.dtype == y.dtype
    assert found.score(TEXTS, y) > 0.8


def test_a_class_whose_only_text_is_empty_is_never_the_answer(base):
    found = TsugikiClassifier(base, settings=HEAD).fit([*TEXTS, " "], [*ANSWERS, "empty"])
    assert found.classes_.tolist() == sorted([*LABELS, "empty"])
    assert not found.predict_proba(TEXTS)[:, 0].any()


def test_no_text_has_no_answer(fitted):
    assert fitted.predict([]).shape == (0,)
    assert fitted.predict_proba([]).shape == (0, 3)


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        ("oil leak", "estimator.one_text"),
        (np.zeros((60, 2)), "estimator.shape"),
        (pd.DataFrame({"text": TEXTS}), "estimator.shape"),
        ([*TEXTS[1:], None], "estimator.not_text"),
        (np.zeros(60), "estimator.not_text"),
    ],
)
def test_what_is_no_column_of_texts_is_refused(base, fitted, texts, code):
    for call in (lambda: TsugikiClassifier(base, settings=HEAD).fit(texts, ANSWERS), lambda: fitted.predict(texts)):
        with pytest.raises(RowsError) as refusal:
            call()
        assert refusal.value.code == code


def test_classes_that_are_written_alike_are_refused(base):
    with pytest.raises(RowsError, match="written alike: 'a'"):
        TsugikiClassifier(base).fit(["oil", "belt"], ["a", "a "])


@pytest.mark.parametrize("y", [None, ANSWERS[1:], [ANSWERS] * 2, np.linspace(0, 1, 60)])
def test_what_is_no_column_of_classes_is_refused(base, y):
    with pytest.raises(ValueError):
        TsugikiClassifier(base, settings=HEAD).fit(TEXTS, y)


def test_a_single_class_is_refused(base):
    with pytest.raises(RowsError, match="same label"):
        TsugikiClassifier(base, settings=HEAD).fit(["oil", "belt"], ["a", "a"])


def test_it_says_that_it_is_not_fitted():
    for call in (lambda: TsugikiClassifier().predict(["oil"]), lambda: TsugikiClassifier().adapter_):
        with pytest.raises(NotFittedError):
            call()


# --- parameters ------------------------------------------------------------------------------------------------------


def test_settings_are_parameters_under_their_dotted_names():
    found = TsugikiClassifier(settings={"train.epochs": 2, "precision": "fp32"})
    assert found.get_params()["train.epochs"] == 2
    assert found.get_params(deep=False).keys() == {"base", "config", "settings"}
    given = found.settings
    assert found.set_params(**{"train.epochs": 3, "base": "b"}) is found
    assert (found.settings, found.base) == ({"train.epochs": 3, "precision": "fp32"}, "b")
    assert given == {"train.epochs": 2, "precision": "fp32"}


def test_a_clone_has_the_same_parameters_and_is_not_fitted(fitted):
    found = clone(fitted)
    assert found.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        found.predict(TEXTS)


def test_wrong_names_are_told(base):
    with pytest.raises(ValueError, match="epoch"):
        TsugikiClassifier().set_params(epoch=3)
    with pytest.raises(ConfigError, match="did you mean epochs"):
        TsugikiClassifier(base).set_params(**{"train.epoch": 3}).fit(TEXTS, ANSWERS)


# --- with the rest of scikit-learn -----------------------------------------------------------------------------------


def test_it_is_validated_across_folds(base):
    assert cross_val_score(TsugikiClassifier(base, settings=HEAD), TEXTS, ANSWERS, cv=3).mean() > 0.7


def test_a_search_goes_over_settings_also_inside_a_pipeline(base):
    plan = make_pipeline(FunctionTransformer(lambda texts: [text.upper() for text in texts]), TsugikiClassifier(base))
    plan.set_params(tsugikiclassifier__settings={**SETTINGS, "placement.strategy": "top"})
    search = GridSearchCV(plan, {"tsugikiclassifier__train.epochs": [1, 2]}, cv=2).fit(TEXTS, ANSWERS)
    best = search.best_params_["tsugikiclassifier__train.epochs"]
    adapter = search.best_estimator_[-1].adapter_
    assert adapter.manifest.training["train"]["epochs"] == best
    assert set(search.predict(TEXTS)) <= set(LABELS)


@pytest.fixture
def on_base(tmp_path, monkeypatch):
    """A classifier whose answers need its base: on these rows the words alone would win."""
    monkeypatch.setattr("tsugiki.train.run._ENOUGH", 2.0)
    monkeypatch.setattr("tsugiki.train.run.best_of", lambda tried, *_: next(c for c in tried if c.variant == "head"))
    found = TsugikiClassifier(tiny_base_folder(tmp_path / "base"), settings=HEAD).fit(TEXTS, ANSWERS)
    assert found.adapter_.base is not None
    return found


def test_pickled_it_holds_no_base_and_answers_alike(on_base, fitted):
    for one in (on_base, fitted):
        found = pickle.loads(pickle.dumps(one))
        assert found._adapter is None
        again = pickle.loads(pickle.dumps(found))  # before it ever answered
        np.testing.assert_array_equal(found.predict_proba(TEXTS), one.predict_proba(TEXTS))
        np.testing.assert_array_equal(again.predict_proba(TEXTS), one.predict_proba(TEXTS))


def test_pickled_it_misses_its_base_where_it_first_answers(on_base, tmp_path):
    found = pickle.loads(pickle.dumps(on_base))
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    assert found.classes_.tolist() == sorted(LABELS)
    with pytest.raises(MissingError):
        found.predict(TEXTS)


# --- scikit-learn's own suite ----------------------------------------------------------------------------------------


def test_scikit_learn_knows_that_it_reads_texts():
    tags = get_tags(TsugikiClassifier())
    assert tags.estimator_type == "classifier" and tags.target_tags.required
    assert (tags.input_tags.string, tags.input_tags.one_d_array, tags.input_tags.two_d_array) == (True, True, False)


def test_of_an_estimator_of_texts_scikit_learn_checks_little_by_itself():
    with pytest.warns(SkipTestWarning, match="string=True"):
        found = check_estimator(TsugikiClassifier())
    assert [(check["check_name"], check["status"]) for check in found] == [("check_estimator_cloneable", "passed")]


class Told(TsugikiClassifier):
    """Rows of numbers told as words: scikit-learn's suite knows no texts, and would skip all but one of its checks."""

    def fit(self, X, y):
        X, y = validate_data(self, X, y)
        return super().fit(told(X), y)

    def predict_proba(self, X):
        check_is_fitted(self)
        return super().predict_proba(told(validate_data(self, X, reset=False)))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = InputTags(two_d_array=True)
        tags.classifier_tags.poor_score = True  # words know nothing of neighbours
        return tags


def told(X):
    return [" ".join(f"{'abcdefgh'[i % 8]}{round(float(x))}" for i, x in enumerate(row)) or "none" for row in X]


REFUSED = {"check_fit2d_1sample": "a single row is refused in our own words"}


@pytest.fixture(autouse=True)
def tiny_built_in(request, base, monkeypatch):
    """The suite makes estimators on its own, which take the built-in base."""
    if "check" in request.fixturenames:
        monkeypatch.setattr("tsugiki.base.model.built_in_folder", lambda: base)


@parametrize_with_checks([Told(settings=HEAD)], expected_failed_checks=lambda _: REFUSED)
def test_it_passes_what_scikit_learn_asks_of_estimators(estimator, check):
    check(estimator)


# --- tasks


def test_a_semicolon_in_a_class_is_part_of_its_name(base):
    fitted = TsugikiClassifier(base, settings=HEAD).fit(TEXTS, [f"{answer}; sure" for answer in ANSWERS])
    assert set(fitted.predict(TEXTS)) <= {f"{answer}; sure" for answer in ANSWERS}


def test_several_labels_are_refused(base):
    with pytest.raises(ConfigError):
        TsugikiClassifier(base, settings={**HEAD, "data.task": "tag"}).fit(TEXTS, ANSWERS)
