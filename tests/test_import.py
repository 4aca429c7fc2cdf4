"""`import tsugiki` costs nothing and offers exactly what it says."""

import subprocess
import sys

import pytest

import tsugiki

HEAVY = {"torch", "transformers", "pandas", "numpy", "pydantic", "pyarrow", "datasets", "sklearn", "rich", "typer"}


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_what_is_offered_is_what_can_be_imported():
    offered = {name for name in dir(tsugiki) if not name.startswith("_")} | {"__version__"}
    assert offered == set(tsugiki.__all__)
    for name in tsugiki.__all__:
        assert getattr(tsugiki, name) is not None


def test_nothing_else_is_offered():
    with pytest.raises(AttributeError, match="trian"):
        _ = tsugiki.trian


def test_importing_imports_nothing_heavy():
    loaded = set(run("import sys, tsugiki; print(*sys.modules)").split())
    assert not loaded & HEAVY
    assert {name for name in loaded if name.startswith("tsugiki.")} == set()


def test_an_adapter_without_words_loads_neither_what_draws_nor_what_reads_words():
    loaded = set(run("import sys, tsugiki.api, tsugiki.tasks.adapter; print(*sys.modules)").split())
    assert "torch" in loaded and not loaded & {"sklearn", "matplotlib", "pandas", "pyarrow", "datasets"}


def test_errors_can_be_caught_without_loading_anything_heavy():
    assert run("import sys, tsugiki; tsugiki.TsugikiError; print('torch' in sys.modules)") == "False"


@pytest.mark.parametrize(("name", "part"), [("train", "config"), ("evaluate", "result")])
@pytest.mark.parametrize("before", ["", "import tsugiki.{name}.{part}", "from tsugiki.{name} import {part}"])
def test_some_names_are_functions_and_rooms_whatever_was_imported_before(name, part, before):
    before = before.format(name=name, part=part)
    code = f"import tsugiki\n{before}\nprint(callable(tsugiki.{name}), tsugiki.{name}.__name__)"
    assert run(code) == f"True tsugiki.{name}"


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_these_functions_take_what_the_api_takes(name):
    import inspect

    from tsugiki import api

    offered, real = inspect.signature(getattr(tsugiki, name)), inspect.signature(getattr(api, name))
    assert [*offered.parameters] == [*real.parameters]


def test_the_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert tsugiki.__version__ == version("tsugiki")
