"""What other programs and commands make of an adapter that writes."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from tsugiki import api
from tsugiki.adapt.package import load_package
from tsugiki.composed.folder import compose
from tsugiki.errors import ConfigError, PackageError
from tsugiki.export import EXPORTS, export
from tsugiki.writing.writer import Writer

SOURCES = ["oil a b", "belt", "motor c d e"]


def test_a_merged_writer_answers_with_the_generation_code_of_others(folder, tmp_path):
    writer = Writer.load(folder, precision="fp32")
    export(load_package(folder), EXPORTS.parse({"kind": "merged"}), tmp_path / "merged")
    told = (tmp_path / "merged" / "README.md").read_text(encoding="utf-8")
    assert f"number {writer.wording.end} " in told and "line break" in told
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert model.generation_config.eos_token_id == writer.wording.end
    for source in SOURCES:
        ids = torch.tensor([writer.wording.prompt(source)[0]])
        written = model.generate(input_ids=ids, max_new_tokens=writer.wording.max_new, do_sample=False, pad_token_id=0)
        assert writer.wording.text(written[0, ids.shape[1] :].tolist()) == writer.write(source)[0].text
    writer.close()


def test_its_modules_go_to_peft(folder, tmp_path):
    peft = pytest.importorskip("peft", reason="the PEFT library is not installed")
    export(load_package(folder), EXPORTS.parse({"kind": "peft"}), tmp_path / "peft")
    writer = Writer.load(folder, precision="fp32")
    ids = torch.tensor([[1, 7, 9, 11]])
    with writer._adapted.using("it"):
        wanted = writer.base.model(input_ids=ids).logits
    writer.close()
    plain = AutoModelForCausalLM.from_pretrained(writer.base.name)
    found = peft.PeftModel.from_pretrained(plain, tmp_path / "peft")(input_ids=ids).logits
    assert torch.allclose(found, wanted, atol=1e-4)


def test_its_card_says_how_it_is_asked(folder):
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "tsugiki.load_writer" in card and "tsugiki predict" in card


def test_a_set_refuses_it(folder):
    with pytest.raises(PackageError) as error:
        compose([folder], name="set")
    assert error.value.code == "compose.no_labels"


@pytest.mark.parametrize("use", ["plan", "advise", "compare"])
def test_what_knows_labels_alone_says_so(use, decoder, tmp_path):
    more = {"methods": ["tfidf"], "out": tmp_path / "out"} if use == "compare" else {}
    with pytest.raises(ConfigError) as error:
        getattr(api, use)([("oil", "leak")] * 30, base=decoder, task="generate", **more)
    assert error.value.code == "writing.not_yet" and use in str(error.value)
