import json

import pytest

from tsugiki.errors import PackageError
from tsugiki.manifest import SCHEMA_VERSION, BaseFacts, DataFacts, HeadFacts, Manifest, ModuleFacts, Placement

EXAMPLE = Manifest(
    name="billing",
    tsugiki_version="0.1.0",
    task={"kind": "classify", "labels": ["paid", "açık"]},
    base=BaseFacts(
        name="tiny",
        architecture="BertModel",
        num_layers=4,
        width=2,
        layer_digests=("0a", "1b", "2c"),
        tokenizer_digest="3d",
    ),
    placement=Placement(
        boundary=1, exit=2, modules=(ModuleFacts(layer=1, site="mlp.up", form={"kind": "low_rank", "rank": 1}),)
    ),
    head=HeadFacts(states=(2,)),
    variant="suffix 1/2",
    training={"seed": 0, "rate": 0.5},
    data=DataFacts(rows_digest="4e", num_train=10, num_validation=4, class_counts={"paid": 6, "açık": 4}),
    metrics={"accuracy": 0.75},
    licence="MIT",
)


def test_bytes_give_back_the_same_manifest():
    assert Manifest.from_bytes(EXAMPLE.to_bytes(), path="it") == EXAMPLE


def test_the_digest_is_that_of_the_bytes_and_does_not_depend_on_the_order_of_fields():
    turned = Manifest.model_validate(dict(reversed(EXAMPLE.model_dump().items())))
    assert turned.digest() == EXAMPLE.digest()


def test_no_flipped_bit_gives_an_equal_manifest():
    content = EXAMPLE.to_bytes()
    for position in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[position] ^= 1 << bit
            try:
                read = Manifest.from_bytes(bytes(flipped), path="it")
            except PackageError:
                continue
            assert read != EXAMPLE
            assert read.digest() != EXAMPLE.digest()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "package.not_json"),
        (b"\x80\x04K\x01.", "package.not_json"),
        (b"[]", "package.schema"),
        (b'{"schema_version":0}', "package.schema"),
        (json.dumps({"schema_version": SCHEMA_VERSION}).encode(), "package.fields"),
        (EXAMPLE.to_bytes()[:-1] + b',"zzz":1}', "package.fields"),
        (EXAMPLE.to_bytes() + b"\n", "package.not_canonical"),
        (json.dumps(json.loads(EXAMPLE.to_bytes()), indent=1).encode(), "package.not_canonical"),
    ],
)
def test_other_bytes_are_refused(content, code):
    with pytest.raises(PackageError) as refused:
        Manifest.from_bytes(content, path="adapter.json")
    assert refused.value.code == code
    assert "adapter.json" in str(refused.value)
