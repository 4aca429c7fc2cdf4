"""An adapter that writes: through the generation code of the base itself, with its key/value cache."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import torch
from pydantic import NonNegativeInt, PositiveInt

from tsugiki.adapt.adapted import AdaptedModel
from tsugiki.adapt.package import Package, load_package, save_package
from tsugiki.adapt.package_checks import check_base
from tsugiki.base.model import Base, load_base
from tsugiki.base.precision import Precision
from tsugiki.base.suffix import run_states
from tsugiki.base.tokens import pad
from tsugiki.base.vocabulary import Vocabulary
from tsugiki.data.batches import length_batches
from tsugiki.data.reading import Reading
from tsugiki.errors import ConfigError, PackageError
from tsugiki.manifest import Manifest
from tsugiki.report.card import card
from tsugiki.spec import Spec, parse
from tsugiki.writing.losses import answer_losses
from tsugiki.writing.sampling import Sampling, until
from tsugiki.writing.wording import Wording
from tsugiki.writing.writing import WRITINGS, Writing, writes

_NAME = "it"
# Rows that write at once; the tokens they may come to are those of a batch of the base.
_MOST_ROWS = 64


@dataclass(frozen=True)
class Answer:
    """What was written.

    Args:
        text: of the answer.
        tokens: that it took, its end included.
        finished: whether it came to its end, and was not cut.
        cut: whether the input had to be cut.
    """

    text: str
    tokens: int
    finished: bool
    cut: bool

    def to_dict(self) -> dict[str, str | int | bool]:
        """As plain data."""
        return asdict(self)


class Asked(Spec):
    """What a manifest says of how a base is asked.

    Args:
        end: token that ends an answer.
        max_prompt: tokens of a prompt at most.
        max_new: tokens of an answer at most.
    """

    end: NonNegativeInt
    max_prompt: PositiveInt
    max_new: PositiveInt


class Writer:
    """A package on its base.

    Args:
        package: the package.
        base: with its vocabulary head.

    Raises:
        PackageError: it does not write, or belongs to another base.
    """

    def __init__(self, package: Package, base: Base) -> None:
        facts = package.manifest.task
        if not writes(str(facts.get("kind"))):
            raise PackageError("package.does_not_write", package=package.manifest.name, kind=facts.get("kind"))
        check_base(package, base)
        self.package, self.base = package, base
        self.writing, numbers = _read(package, base)
        self.wording = Wording(base, self.writing, numbers.end, numbers.max_prompt, numbers.max_new)
        # Routes and the generation settings are the model's, so one thread after the other.
        self._turn = Lock()
        self._adapted = AdaptedModel(base.model, base.anatomy)
        self._adapted.attach(_NAME, package.grafts, package.part("modules"))

    @classmethod
    def load(cls, folder: str | Path, base: Base | str | None = None, precision: Precision = "auto") -> "Writer":
        """Load a package and its base.

        Raises:
            MissingError: the package or the base is not there.
            PackageError: the package is damaged, does not write, or belongs to another base.
        """
        package = load_package(Path(folder))
        if not isinstance(base, Base):
            base = load_base(base or package.manifest.base.name, precision=precision, head=True)
        return cls(package, base)

    @property
    def manifest(self) -> Manifest:
        """What the package says of itself."""
        return self.package.manifest

    @property
    def reading(self) -> Reading:
        """How the rows it was trained on were read."""
        found = self.manifest.training.get("data", {})
        return Reading.model_validate({name: found[name] for name in Reading.model_fields if name in found})

    def write(self, sources: str | Iterable[str], sampling: Sampling | None = None) -> list[Answer]:
        """Answer each input.

        Args:
            sources: one, or some.
            sampling: None takes the likeliest tokens.

        Raises:
            ConfigError: the chat template fails.
        """
        asked = [sources] if isinstance(sources, str) else list(sources)
        prompts = [self.wording.prompt(source) for source in asked]
        chosen = sampling or Sampling()
        found: list[Answer | None] = [None] * len(asked)
        for rows in self._batches([len(ids) for ids, _ in prompts], chosen):
            ids, mask = self._padded([prompts[row][0] for row in rows])
            with self._turn, self._adapted.using(_NAME), torch.inference_mode():
                written = self._generate(ids, mask, chosen)[:, ids.shape[1] :].tolist()
            for row, tokens in zip(rows, written, strict=True):
                # What ends early without its end came to a stop.
                over = len(tokens) < self._most(ids.shape[1], chosen)
                found[row] = self._answer(tokens, prompts[row][1], over, chosen)
        return [answer for answer in found if answer is not None]

    @torch.inference_mode()
    def perplexity(self, sources: Sequence[str], targets: Sequence[str]) -> tuple[float, float]:
        """Of a token of the targets, their ends included: under the adapter, and of the base alone."""
        vocabulary, last = Vocabulary(self.base), self.base.num_layers
        pairs = [
            (self.wording.prompt(source)[0], self.wording.target(target)[0])
            for source, target in zip(sources, targets, strict=True)
        ]
        lengths, budget = [len(prompt) + len(target) for prompt, target in pairs], self.base.batch_tokens
        totals = {_NAME: 0.0, None: 0.0}
        for rows in length_batches(lengths, budget, budget):
            ids, mask = (t.to(self.base.device) for t in pad([[*pairs[row][0], *pairs[row][1]] for row in rows]))
            for name in totals:
                with self._turn, self._adapted.using(name):
                    state = run_states(self.base.model, self.base.anatomy, ids, mask, (last,))[last]
                losses = answer_losses(vocabulary, state, ids, mask, [len(pairs[row][0]) for row in rows])
                totals[name] += float(losses.double().sum())
        tokens = sum(len(target) for _, target in pairs)
        return math.exp(totals[_NAME] / tokens), math.exp(totals[None] / tokens)

    def stream(self, source: str, sampling: Sampling | None = None) -> Iterator[str]:
        """Answer one input, piece by piece as it is written; whoever stops to listen stops the writing.

        It is written in a thread; other answers wait until it is over.
        """
        from transformers import StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer

        halted, failed = Event(), []

        class Halt(StoppingCriteria):
            def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ARG002
                return torch.full((input_ids.shape[0],), halted.is_set(), dtype=torch.bool, device=input_ids.device)

        chosen = sampling or Sampling()
        ids, mask = self._padded([self.wording.prompt(source)[0]])
        tokenizer: Any = self.base.tokenizer
        pieces = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
        more = {"streamer": pieces, "stopping_criteria": StoppingCriteriaList([Halt()])}

        def run() -> None:
            try:
                with self._turn, self._adapted.using(_NAME), torch.inference_mode():
                    self._generate(ids, mask, chosen, **more)
            except BaseException as error:  # noqa: BLE001 (handed to the thread that listens)
                failed.append(error)
                pieces.end()

        thread = Thread(target=run, daemon=True)
        thread.start()
        try:
            yield from until(pieces, chosen.stop)
        finally:
            halted.set()
            thread.join()
        if failed:
            raise failed[0]

    def save(self, folder: str | Path) -> None:
        """Write the package to a folder, after which an adapter is called that has no name yet."""
        place = Path(folder)
        named = self.manifest if self.manifest.name else self.manifest.model_copy(update={"name": place.resolve().name})
        save_package(place, named, self.package.tensors, card)

    def close(self) -> None:
        """Take the modules off the base."""
        self._adapted.detach()

    def _generate(self, ids: torch.Tensor, mask: torch.Tensor, chosen: Sampling, **more: Any) -> torch.Tensor:
        from transformers import GenerationConfig

        model: Any = self.base.model
        if chosen.temperature:
            more |= {"do_sample": True, "temperature": chosen.temperature, "top_p": chosen.top_p, "top_k": 0}
        if chosen.stop:
            more |= {"stop_strings": list(chosen.stop), "tokenizer": self.base.tokenizer}
        more |= {"max_new_tokens": self._most(ids.shape[1], chosen)}
        usual = model.generation_config
        # Penalties and beams that a base brings along are for its own conversations.
        model.generation_config = GenerationConfig(eos_token_id=self.wording.end, pad_token_id=self.wording.end)
        try:
            devices = [ids.device] if ids.device.type == "cuda" else []
            with torch.random.fork_rng(devices=devices, enabled=bool(chosen.temperature)):
                if chosen.temperature:
                    torch.manual_seed(chosen.seed)
                found: torch.Tensor = model.generate(input_ids=ids, attention_mask=mask, **more)
        finally:
            model.generation_config = usual
        return found

    def _most(self, prompt: int, chosen: Sampling) -> int:
        """Tokens of an answer at most, behind a prompt of so many."""
        return max(1, min(chosen.max_new or self.wording.max_new, self.base.max_length - prompt))

    def _answer(self, tokens: list[int], cut: bool, over: bool, chosen: Sampling) -> Answer:
        finished = self.wording.end in tokens
        own = tokens[: tokens.index(self.wording.end)] if finished else tokens
        whole = self.wording.decoded(own)
        text = "".join(until([whole], chosen.stop))
        return Answer(text.strip(), len(own) + finished, finished or over or text != whole, cut)

    def _batches(self, lengths: Sequence[int], chosen: Sampling) -> Iterator[list[int]]:
        """Rows of like lengths together, as many as fit a batch of the base."""
        spare = chosen.max_new or self.wording.max_new
        order = sorted(range(len(lengths)), key=lambda row: lengths[row])
        while order:
            longest, most = lengths[order[-1]] + spare, _MOST_ROWS
            number = max(1, min(most, 4 * self.base.batch_tokens // longest))
            yield order[-number:]
            del order[-number:]

    def _padded(self, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompts side by side, padded on the left, where nothing follows them."""
        longest = max(map(len, prompts))
        ids = torch.full((len(prompts), longest), self.wording.end)
        mask = torch.zeros(len(prompts), longest, dtype=torch.int64)
        for row, own in enumerate(prompts):
            ids[row, longest - len(own) :] = torch.tensor(own)
            mask[row, longest - len(own) :] = 1
        return ids.to(self.base.device), mask.to(self.base.device)


def _read(package: Package, base: Base) -> tuple[Writing, Asked]:
    """What a manifest says of its task, as far as the base can have it.

    Raises:
        PackageError: it is not what a writer says.
    """
    facts = package.manifest.task
    fields = WRITINGS.load(str(facts["kind"])).model_fields
    try:
        writing = WRITINGS.parse({name: value for name, value in facts.items() if name in fields})
        numbers = {name: value for name, value in facts.items() if name in Asked.model_fields}
        asked = parse(Asked, numbers, where="task")
    except ConfigError as error:
        raise PackageError("package.kind", where="task", reason=error) from None
    model: Any = base.model
    size = int(model.config.get_text_config().vocab_size)
    if asked.end >= size or asked.max_prompt + asked.max_new > base.max_length:
        limits = f"end < {size}, max_prompt + max_new <= {base.max_length}"
        raise PackageError("package.kind", where="task", reason=limits)
    return writing, asked
