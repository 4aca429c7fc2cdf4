"""What every format of an export keeps to; a new file in `exports` is tested here without a line more."""

import pytest

from tests.adapt.test_package import bert, manifest_for, tensors_for
from tests.support.models import LAYERS
from tsugiki.adapt.package import Package
from tsugiki.errors import ExportError
from tsugiki.export import EXPORTS, export, format_of
from tsugiki.manifest import HeadFacts

kinds = pytest.mark.parametrize("kind", EXPORTS.names())


@kinds
def test_a_format_is_called_as_its_file(kind):
    assert format_of(kind).kind == kind


@kinds
def test_what_reads_words_is_refused_by_name_with_the_way_out_before_a_base_is_loaded(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(type(format_of(kind)), "open_base", lambda *_: pytest.fail("a base was loaded"))
    head = HeadFacts(states=(LAYERS,), words={"kind": "tfidf"}, words_share=0.5)
    manifest = manifest_for(bert(), head=head)
    with pytest.raises(ExportError) as refused:
        export(Package(manifest, tensors_for(bert(), manifest), ""), format_of(kind), tmp_path / "out")
    assert refused.value.code == "export.lexicon"
    assert manifest.name in str(refused.value) and "train.words=false" in str(refused.value)
    assert list(tmp_path.iterdir()) == []
