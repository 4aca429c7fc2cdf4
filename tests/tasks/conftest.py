from dataclasses import replace

import pytest

from tests.support.bases import tiny_base_folder
from tests.support.runs import easy_splits, quick_config


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A saved package for each kind of candidate: `head`, `words`, `readout`, `suffix` and `joined`."""
    from tsugiki.train.run import train_adapter

    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("packages")
        patch.setenv("TSUGIKI_HOME", str(root / "home"))
        base = tiny_base_folder(root / "base")
        trained = train_adapter(easy_splits(), quick_config(base))
        candidates = {c.variant.partition(" ")[0]: c for c in trained.candidates if "+" not in c.variant}
        # Whether words help is for validation to say; here they are wanted.
        words, suffix = candidates["words"], candidates["suffix"]
        head = suffix.head.model_copy(update={"words": words.head.words, "words_share": 0.25})
        tensors = suffix.tensors | words.tensors
        candidates["joined"] = replace(suffix, variant="suffix 2/4 + words", head=head, tensors=tensors)
        for name, candidate in candidates.items():
            adapter = trained.adapter_of(candidate)
            adapter.save(root / name)
            adapter.close()
        trained.adapter.close()
    return root
