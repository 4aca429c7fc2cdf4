"""Tiny bases as folders, with weights and a tokenizer, for what loads a base by its place."""

from pathlib import Path

from tests.support.models import tiny

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WORDS = ("oil", "leak", "pump", "motor", "noise", "belt", "stuck", "valve", "loud", "hot", "the", "at", "##s", "##ing")


def tiny_base_folder(path: Path, family: str = "bert", *, seed: int = 0) -> Path:
    """A random model of a family with a WordPiece tokenizer of a few dozen words, saved to `path`.

    Args:
        path: the folder; made if it is not there.
        family: a key of `tests.support.models.FAMILIES`.
        seed: of the weights.
    """
    tiny(family, seed=seed).save_pretrained(path)  # type: ignore[operator]
    tokenizer().save_pretrained(path)
    return path


def tokenizer():
    """Words, single letters and their continuations: 64 pieces at most, as the tiny models have."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = "abcdefghilmnoprstuvw"
    pieces = [*_SPECIAL, *_WORDS, *letters, *(f"##{letter}" for letter in letters)]
    pieces = list(dict.fromkeys(pieces))[:64]
    number = {piece: i for i, piece in enumerate(pieces)}
    backend = Tokenizer(models.WordPiece(vocab=number, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", number["[CLS]"]), ("[SEP]", number["[SEP]"])],
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), _SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=64, **names)
