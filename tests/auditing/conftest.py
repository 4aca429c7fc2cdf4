import pytest

from tests.support.members import train_members
from tsugiki.base.model import load_base


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    return train_members(tmp_path_factory.mktemp("members"))


@pytest.fixture(scope="session")
def base(folders):
    return load_base(folders / "base", precision="fp32")
