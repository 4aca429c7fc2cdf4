import pytest

from tests.support.members import train_members


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    return train_members(tmp_path_factory.mktemp("members"))
