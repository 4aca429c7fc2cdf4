"""Families: a folder is a family, a file in it a member, the file name the member's name.

Adding a member is adding one file. Other distributions join through the entry point group named after the folder
(`tsugiki.adapt.forms`). Only a member that is used is imported.
"""

import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Generic, TypeVar

from tsugiki.errors import ConfigError
from tsugiki.spec import Spec, nearest, parse

T = TypeVar("T", bound=Spec)


@cache
def _joined(group: str) -> dict[str, str]:
    """Modules of members that other distributions bring, by name.

    They are looked for once: that takes milliseconds, and a set of adapters names thousands of forms.
    """
    return {entry.name: entry.value for entry in entry_points(group=group)}


@dataclass(frozen=True)
class Family(Generic[T]):
    """The members found in one package.

    Args:
        package: dotted name of the folder.
        contract: the class every member derives from; a member module defines exactly one such class.
    """

    package: str
    contract: type[T]

    def names(self) -> list[str]:
        """Names of all members, sorted, without importing any of them."""
        found = find_spec(self.package)
        folders = list(found.submodule_search_locations or []) if found else []
        own = {m.name for m in pkgutil.iter_modules(folders) if not m.name.startswith("_")}
        return sorted(own | _joined(self.package).keys())

    def load(self, name: str) -> type[T]:
        """The class of one member.

        Raises:
            ConfigError: no member has that name.
        """
        if name not in self.names():
            raise ConfigError(
                "config.no_such_member",
                found=name,
                family=self.package,
                allowed=", ".join(self.names()),
                nearest=nearest(name, self.names()),
            )
        module = import_module(_joined(self.package).get(name, f"{self.package}.{name}").partition(":")[0])
        return next(
            member
            for member in vars(module).values()
            if inspect.isclass(member) and issubclass(member, self.contract) and member.__module__ == module.__name__
        )

    def parse(self, spec: Mapping[str, object]) -> T:
        """Turn `{kind, ...}` into the member it names.

        Raises:
            ConfigError: no such kind, or its fields are wrong; all faults are reported together.
        """
        return parse(self.load(str(spec.get("kind", ""))), spec, where=self.package.rpartition(".")[2])
