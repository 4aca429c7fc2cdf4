"""How a base is asked, what ends an answer, and what is cut."""

import pytest
import torch

from tests.support.bases import tokenizer
from tests.support.models import tiny
from tsugiki.base.model import describe
from tsugiki.errors import ConfigError
from tsugiki.writing.marker import end_token, named_token
from tsugiki.writing.wording import Wording
from tsugiki.writing.writing import WRITINGS, writes

TEMPLATE = (
    "{% for m in messages %}[CLS] {{ m['content'] }} [SEP]{% endfor %}{% if add_generation_prompt %}the{% endif %}"
)


@pytest.fixture
def base():
    return describe(tiny("llama", head=True), tokenizer(), name="tiny")


def wording(base, max_prompt=20, max_new=6, **settings):
    writing = WRITINGS.parse({"kind": "generate", **settings})
    return Wording(base, writing, named_token(base, "[SEP]"), max_prompt, max_new)


def test_a_target_ends_with_the_marker_unless_it_is_cut(base):
    found = wording(base)
    assert found.target("oil leak") == ([*base.tokenizer("oil leak", add_special_tokens=False)["input_ids"], 3], False)
    ids, cut = found.target("a b c d e f g h")
    assert len(ids) == 6 and cut and 3 not in ids
    assert found.text([*base.tokenizer("oil leak", add_special_tokens=False)["input_ids"], 3, 7, 8]) == "oil leak"


def test_a_long_input_loses_its_end_and_nothing_around_it(base):
    found = wording(base, prompt="the {source} at")
    whole, cut = found.prompt("oil leak")
    assert not cut and base.tokenizer.decode(whole, skip_special_tokens=True) == "the oil leak at"
    ids, cut = found.prompt("oil " + "a b c d e f g h " * 9)
    text = base.tokenizer.decode(ids, skip_special_tokens=True)
    assert cut and len(ids) <= 20 and text.startswith("the oil a b") and text.endswith(" at")


def test_a_chat_template_is_used_where_there_is_one_and_no_prompt_is_given(base):
    base.tokenizer.chat_template = TEMPLATE
    chat = base.tokenizer.decode(wording(base).prompt("oil")[0])
    assert chat.endswith("[CLS] oil [SEP] the")
    assert "the" not in base.tokenizer.decode(wording(base, prompt="{source}").prompt("oil")[0])


@pytest.mark.parametrize("template", ["{{ raise_exception('no') }}", "{{ 1 / messages }}", "{% if %}"])
def test_a_chat_template_that_fails_is_said(base, template):
    base.tokenizer.chat_template = template
    with pytest.raises(ConfigError) as error:
        wording(base).prompt("oil")
    assert error.value.code == "writing.template" and "writing.prompt" in str(error.value)


def test_a_prompt_without_room_is_refused(base):
    with pytest.raises(ConfigError) as error:
        wording(base, max_prompt=5, prompt="the pump at the belt {source}").prompt("oil")
    assert error.value.code == "writing.long_prompt"


@pytest.mark.parametrize("prompt", ["no place", "{source} and {source}"])
def test_a_prompt_has_one_place_for_the_input(prompt):
    with pytest.raises(ConfigError):
        WRITINGS.parse({"kind": "generate", "prompt": prompt})


def test_the_end_is_the_special_token_that_the_base_expects_most(base):
    finished = [base.tokenizer(text)["input_ids"] for text in ("oil leak", "the belt stuck", "motor")]
    last = [base.model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1) for ids in finished]
    # Unknown words, padding and masks end nothing: [CLS] and [SEP] are left.
    assert end_token(base, finished) == max((2, 3), key=lambda token: float(sum(row[token] for row in last)))


def test_an_end_that_is_not_there_is_refused(base):
    with pytest.raises(ConfigError) as error:
        named_token(base, "<end>")
    assert error.value.code == "writing.no_such_end"


def test_a_base_without_special_tokens_has_no_end(base, monkeypatch):
    monkeypatch.setattr("tsugiki.writing.marker._specials", lambda _: set())
    with pytest.raises(ConfigError) as error:
        end_token(base, [[5]])
    assert error.value.code == "writing.no_end"


def test_tasks_that_write_are_known_by_name():
    assert all(map(writes, ("generate", "summarise", "extract")))
    assert not any(map(writes, ("classify", None, "")))
