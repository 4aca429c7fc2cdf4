"""What a tokenizer without a state of its own depends on: its settings, the files it reads, and a dictionary of words.

The dictionary is a package of its own. Another release of it splits words otherwise, and no file of the base tells.
"""

import hashlib
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# Where it was loaded from, and what is decided anew by every caller.
_NO_MATTER = {
    *("name_or_path", "is_local", "local_files_only", "backend", "tokenizer_class", "processor_class", "auto_map"),
    *("model_max_length", "padding_side", "truncation_side", "clean_up_tokenization_spaces", "chat_template"),
    *("added_tokens_decoder", "tokenizer_file", "special_tokens_map_file"),
}
_SUDACHI = ("SudachiDict-small", "SudachiDict-core", "SudachiDict-full")
# A dictionary of MeCab has hundreds of megabytes. Another release moves all that stands behind its first change.
_BLOCKS, _BLOCK_BYTES = 64, 4096


def settings(tokenizer: Any) -> dict[str, object]:
    """What was said when the tokenizer was made and is not None; files by their content, wherever they lie."""
    given: Mapping[str, Any] = getattr(tokenizer, "init_kwargs", {})
    files = getattr(tokenizer, "vocab_files_names", {})
    said = {name: value for name, value in given.items() if value is not None and name not in _NO_MATTER}
    return {n: _content(Path(value)) if n in files and Path(value).is_file() else value for n, value in said.items()}


def dictionaries(tokenizer: Any) -> list[tuple[str, ...]]:
    """The dictionaries behind a tokenizer that splits words first; none for every other one."""
    words: Any = getattr(tokenizer, "word_tokenizer", None)
    if hasattr(words, "mecab"):
        return sorted(_mecab(words.mecab))
    if hasattr(words, "sudachi"):
        return [(name, found) for name in _SUDACHI if (found := _installed(name))]
    return []


def _mecab(tagger: Any) -> Iterator[tuple[str, ...]]:
    for facts in tagger.dictionary_info:
        yield tuple(str(facts[name]) for name in ("charset", "size", "version"))
        # Beside the words: their costs, and what is done with unknown ones.
        folder = Path(facts["filename"]).parent
        yield from ((file.name, _sample(file)) for file in folder.iterdir() if file.suffix in (".dic", ".bin"))


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _content(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _sample(file: Path) -> str:
    """Digest of the size of a file and of blocks spread evenly over it."""
    num_bytes = file.stat().st_size
    total = hashlib.sha256(str(num_bytes).encode())
    with file.open("rb") as opened:
        for start in range(0, num_bytes, max(_BLOCK_BYTES, num_bytes // _BLOCKS)):
            opened.seek(start)
            total.update(opened.read(_BLOCK_BYTES))
    return total.hexdigest()
