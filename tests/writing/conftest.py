import pytest

from tests.support.writers import tiny_writer_folder, writer_config, written_splits
from tsugiki.train.write import train_writer


@pytest.fixture(scope="session")
def decoder(tmp_path_factory):
    return tiny_writer_folder(tmp_path_factory.mktemp("decoder"))


@pytest.fixture(autouse=True, scope="session")
def _own_home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSUGIKI_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def trained(decoder):
    """Modules from the middle up, so that the cache is read."""
    found = train_writer(written_splits(), writer_config(decoder, placement__boundary=2, name="it"))
    yield found
    found.adapter.close()


@pytest.fixture(scope="session")
def folder(trained, tmp_path_factory):
    place = tmp_path_factory.mktemp("packages") / "it"
    trained.adapter.save(place)
    return place
