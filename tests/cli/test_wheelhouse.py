"""A wheelhouse of packages of a few bytes, made by the real pip from a folder in place of an index."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec

import pytest

from tsugiki.base.upkeep import Size
from tsugiki.cli import wheelhouse
from tsugiki.cli.wheelhouse import README, REQUIREMENTS, SCRIPT, Pin, Wheelhouse, build_wheelhouse, pins, wheels_in
from tsugiki.errors import ConfigError, MissingError

needs_pip = pytest.mark.skipif(find_spec("pip") is None, reason="pip is not installed")


def wheel(folder, name, version="1.0", tag="py3-none-any"):
    """A wheel of one module that says who it is."""
    about = f"{name}-{version}.dist-info"
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(f"{name}.py", f"NAME = {name!r}\n")
        made.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        made.writestr(f"{about}/WHEEL", f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n")
        made.writestr(f"{about}/RECORD", "")
    return path


@pytest.fixture(autouse=True)
def index(monkeypatch, tmp_path):
    """A folder in place of an index, with all that two made-up needs and tsugiki itself are."""
    monkeypatch.setenv("TSUGIKI_LANG", "en")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "index"
    folder.mkdir()
    own = wheel(folder, "grafting", "0.1")
    wheel(folder, "first_need")
    wheel(folder, "second_need", "2.0+cpu")
    made_up = [Pin("grafting", "0.1"), Pin("first-need", "1.0"), Pin("second-need", "2.0+cpu")]
    monkeypatch.setattr(wheelhouse, "pins", lambda _: made_up)
    monkeypatch.setattr(wheelhouse, "_source", lambda _: nullcontext(str(own)))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@needs_pip
def test_a_wheelhouse_installs_without_a_network(tmp_path):
    made = build_wheelhouse(tmp_path / "house")
    house = tmp_path / "house"
    assert sorted(path.name for path in made.wheels) == sorted(path.name for path in house.glob("*.whl"))
    assert made.num_bytes == sum(path.stat().st_size for path in house.glob("*.whl"))
    digest = hashlib.sha256(next(house.glob("second*")).read_bytes()).hexdigest()
    assert f"second-need==2.0+cpu --hash=sha256:{digest}\n" in (house / REQUIREMENTS).read_text(encoding="utf-8")
    assert "--no-index" in (house / README).read_text(encoding="utf-8")

    # Not from the folder it was made from, nor from any index.
    own = {"PYTHON": sys.executable, "PIP_TARGET": str(tmp_path / "there"), "PATH": os.environ["PATH"]}
    own |= {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull}
    command = ["sh", str(house / SCRIPT)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=own, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "there").glob("*.py")} == {
        "grafting.py",
        "first_need.py",
        "second_need.py",
    }


def test_the_script_refuses_another_python(tmp_path, index):
    made = Wheelhouse(index, list(index.glob("*.whl")), Size(0))
    wheelhouse._describe(made, Pin("grafting", "0.1"))
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho 2.7\n", encoding="utf-8")
    other.chmod(0o755)
    own = {"PYTHON": str(other), "PATH": os.environ["PATH"]}
    done = subprocess.run(["sh", str(index / SCRIPT)], capture_output=True, encoding="utf-8", env=own)
    assert done.returncode == 1 and f"{sys.version_info.major}.{sys.version_info.minor}" in done.stderr


@needs_pip
def test_what_is_there_is_not_fetched_again_and_what_is_missing_is(tmp_path, index, monkeypatch):
    house = shutil.copytree(index, tmp_path / "house")
    asked = []
    fetch = wheelhouse._fetch

    def noting(what, name, folder):
        asked.append(name)
        return fetch(what, name, folder)

    monkeypatch.setattr(wheelhouse, "_fetch", noting)
    next(house.glob("first*")).unlink()
    (house / ".part").mkdir()
    (house / ".part" / "half.whl").write_bytes(b"PK")  # of a run that was killed
    build_wheelhouse(house)
    assert asked == ["first-need", "grafting"]
    assert not (house / ".part").exists()


@needs_pip
def test_a_package_that_cannot_be_had_is_named_and_the_rest_is_kept(tmp_path, index):
    next(index.glob("second*")).unlink()
    with pytest.raises(MissingError) as caught:
        build_wheelhouse(tmp_path / "house")
    assert caught.value.code == "wheelhouse.failed" and "second-need" in str(caught.value)
    assert Pin("first-need", "1.0") in wheels_in(tmp_path / "house")


@needs_pip
def test_an_index_that_cannot_be_reached_is_said_without_its_login(tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://grafter:s3cret@127.0.0.1:9/simple")
    with pytest.raises(MissingError) as caught:
        build_wheelhouse(tmp_path / "house")
    assert caught.value.code == "wheelhouse.unreachable"
    assert "grafter" not in str(caught.value) and "s3cret" not in str(caught.value)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "house").mkdir()
    (tmp_path / "house" / "thesis.docx").touch()
    for place in (tmp_path / "house", tmp_path / "house" / "thesis.docx"):
        with pytest.raises(ConfigError) as caught:
            build_wheelhouse(place)
        assert caught.value.code == "wheelhouse.occupied" and "thesis.docx" in str(caught.value)


def test_without_pip_the_way_to_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(wheelhouse, "find_spec", lambda _: None)
    with pytest.raises(MissingError) as caught:
        build_wheelhouse(tmp_path / "house")
    assert caught.value.code == "wheelhouse.no_pip" and "ensurepip" in str(caught.value)


def test_certificates_are_shown_to_pip_where_it_has_none_of_its_own(monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/company.pem")
    assert wheelhouse._environment()["PIP_CERT"] == "/company.pem"
    monkeypatch.setenv("PIP_CERT", "/other.pem")
    assert wheelhouse._environment()["PIP_CERT"] == "/other.pem"


def test_wheels_of_another_python_are_not_there(tmp_path):
    wheel(tmp_path, "old", tag="cp27-cp27m-win32")
    (tmp_path / "no name of a wheel.whl").touch()
    assert wheels_in(tmp_path) == {}


def test_all_that_is_installed_of_its_needs_is_pinned_and_no_tool():
    try:
        distribution("tsugiki")
    except PackageNotFoundError:
        pytest.skip("tsugiki is not installed as a package")
    own, *needs = pins("tsugiki")
    found = dict(needs)
    assert own.name == "tsugiki"
    assert found["torch"] == distribution("torch").version and {"numpy", "transformers", "tokenizers"} <= found.keys()
    assert not {"pytest", "mypy", "ruff"} & found.keys()


def test_what_is_not_installed_cannot_be_collected():
    with pytest.raises(MissingError) as caught:
        pins("no-such-package-anywhere")
    assert caught.value.code == "wheelhouse.not_installed"


def test_the_command_says_the_size_and_how_to_install(tsugiki, index, monkeypatch):
    made = Wheelhouse(index, list(index.glob("*.whl")), Size(1_500_000))
    monkeypatch.setattr(wheelhouse, "build_wheelhouse", lambda _: made)
    shown = tsugiki("wheelhouse", "house")
    assert shown.code == 0 and "3 wheels, 1.5 MB" in shown.out and "sh house/install.sh" in shown.out
    told = tsugiki("wheelhouse", "house", "--json").json
    assert len(told["wheels"]) == 3 and told["num_bytes"] == 1_500_000
