"""Prompts and targets as tokens: how a base is asked, what ends an answer, and what is cut where it is too long."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tsugiki.base.model import Base
from tsugiki.data.texts import clip, readable
from tsugiki.errors import ConfigError
from tsugiki.writing.writing import SOURCE, Writing


@dataclass(frozen=True)
class Wording:
    """How one base is asked, and answers.

    Args:
        base: with its tokenizer.
        writing: the task.
        end: token that ends an answer.
        max_prompt: tokens of a prompt at most; the input loses its end where it is longer.
        max_new: tokens of an answer at most, its end included.
    """

    base: Base
    writing: Writing
    end: int
    max_prompt: int
    max_new: int

    def prompt(self, source: str) -> tuple[list[int], bool]:
        """Tokens of what the base is asked, and whether the input had to be cut.

        Raises:
            ConfigError: the prompt without any input is too long, or the chat template fails.
        """
        source = clip(source, self.max_prompt)
        ids = self._asked(source)
        if len(ids) <= self.max_prompt:
            return ids, False
        around = len(self._asked(""))
        if around >= self.max_prompt:
            raise ConfigError("writing.long_prompt", found=around, allowed=self.max_prompt)
        tokens, spare = plain_tokens(self.base, source), self.max_prompt - around
        # Tokens of a part are not always a part of the tokens.
        while spare > 0:
            ids = self._asked(str(self._tokenizer.decode(tokens[:spare])))
            if len(ids) <= self.max_prompt:
                return ids, True
            spare -= len(ids) - self.max_prompt
        return self._asked(""), True

    def target(self, text: str) -> tuple[list[int], bool]:
        """Tokens of an answer with its end, and whether it had to be cut; what is cut has no end."""
        ids = plain_tokens(self.base, text)
        return ([*ids, self.end], False) if len(ids) < self.max_new else (ids[: self.max_new], True)

    def text(self, ids: Sequence[int]) -> str:
        """An answer from its tokens, up to the end."""
        own = list(ids)
        return self.decoded(own[: own.index(self.end)] if self.end in own else own).strip()

    def decoded(self, ids: Sequence[int]) -> str:
        """The text of tokens, blanks at its ends and all."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    @property
    def _tokenizer(self) -> Any:
        return self.base.tokenizer

    def _asked(self, source: str) -> list[int]:
        return asked(self.base, self.writing, source)


def plain_tokens(base: Base, text: str) -> list[int]:
    """Tokens of a text alone, none of them special, whatever it says."""
    found: list[int] = base.tokenizer(_harmless(base, readable(text)), add_special_tokens=False)["input_ids"]
    return found


def asked(base: Base, writing: Writing, source: str) -> list[int]:
    """Tokens of a prompt, whatever its length: in the chat template of the base where it has one and none is given.

    Never empty, so that every answer has a token to stand on.

    Raises:
        ConfigError: the chat template fails.
    """
    tokenizer: Any = base.tokenizer
    said = _harmless(base, source)
    if writing.prompt is None and getattr(tokenizer, "chat_template", None):
        from jinja2 import TemplateError

        messages = [{"role": "user", "content": said}]
        try:
            found = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
        except (TemplateError, ValueError, KeyError, TypeError) as error:
            raise ConfigError("writing.template", base=base.name, reason=error) from error
        return list(found["input_ids"])
    prompt = (writing.prompt or writing.usual).replace(SOURCE, said)
    told = tokenizer(prompt, return_special_tokens_mask=True)
    ids, special = list(told["input_ids"]), list(told["special_tokens_mask"])
    # What closes a text would stand between the question and its answer.
    while len(ids) > 1 and special[-1]:
        ids.pop()
        special.pop()
    return ids or [int(tokenizer.pad_token_id)]


def _harmless(base: Base, text: str) -> str:
    """A text in which nothing is spelled like a special token: what somebody writes must not steer the base."""
    added = base.tokenizer.added_tokens_decoder.values()
    for token in {str(token) for token in added if token.special}:
        if len(token) > 1 and token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text
