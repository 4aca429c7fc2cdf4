"""Which token ends an answer: the one that the base itself expects where a text is over.

What a configuration calls the end was not always learnt: some bases never saw it, and behind a frozen head no module
can teach it. So each special token is asked for its probability behind finished answers, and the likeliest is taken.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from tsugiki.base.model import Base
from tsugiki.base.suffix import run_states
from tsugiki.base.tokens import pad
from tsugiki.base.vocabulary import Vocabulary
from tsugiki.errors import ConfigError


def end_token(base: Base, finished: Sequence[Sequence[int]]) -> int:
    """The end marker that a base learnt.

    Args:
        base: with its head.
        finished: tokens of some prompts with their answers, without an end.

    Raises:
        ConfigError: the base has no special token that could be one.
    """
    candidates = sorted(_specials(base))
    if not candidates:
        raise ConfigError("writing.no_end", base=base.name)
    vocabulary, total = Vocabulary(base), torch.zeros(len(candidates), dtype=torch.float64)
    last = base.num_layers
    with torch.inference_mode():
        for ids in finished:
            batch, _ = pad([ids])
            states = run_states(base.model, base.anatomy, batch.to(base.device), None, (last,))[last]
            total += vocabulary(states[0, -1:]).float().log_softmax(-1)[0, candidates].double().cpu()
    return candidates[int(total.argmax())]


def named_token(base: Base, name: str) -> int:
    """The token that a user names as the end.

    Raises:
        ConfigError: the tokenizer has no such token.
    """
    vocabulary: dict[str, int] = base.tokenizer.get_vocab()
    if name not in vocabulary:
        raise ConfigError("writing.no_such_end", found=name, base=base.name)
    return vocabulary[name]


def _specials(base: Base) -> set[int]:
    """Tokens that are no text, but for those that stand for nothing or for anything."""
    tokenizer: Any = base.tokenizer
    model: Any = base.model
    config: Any = getattr(model, "generation_config", None)
    named = getattr(config, "eos_token_id", None)
    ends = {named} if isinstance(named, int) else set(_numbers(named))
    idle = {tokenizer.unk_token_id, tokenizer.pad_token_id, tokenizer.mask_token_id} - {tokenizer.eos_token_id}
    added = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    size = int(model.config.get_text_config().vocab_size)
    return {number for number in ({*tokenizer.all_special_ids} | added) - idle | ends if 0 <= number < size}


def _numbers(named: Any) -> Iterable[int]:
    return named or ()
