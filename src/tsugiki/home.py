"""The folder on this machine where tsugiki keeps what is its own: caches, measured speeds, runs that go on."""

import os
import secrets
from pathlib import Path

from tsugiki.errors import ConfigError, reason_of


def home() -> Path:
    """The folder named by the variable `TSUGIKI_HOME`, else `~/.tsugiki`; made if it is not there, for its owner only.

    Raises:
        ConfigError: the folder cannot be made.
    """
    chosen = os.environ.get("TSUGIKI_HOME")
    folder = Path(chosen).expanduser().absolute() if chosen else Path.home() / ".tsugiki"
    try:
        return private_folder(folder)
    except OSError as error:
        raise ConfigError("cache.no_home", path=folder, reason=reason_of(error)) from error


def private_folder(folder: Path) -> Path:
    """Make a folder, and those above it that are missing, with mode 0700; a folder that is there keeps its mode."""
    # `Path.mkdir(parents=True)` applies the mode to the last level alone.
    if not folder.is_dir():
        if folder.parent != folder:
            private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def write_atomically(path: Path, data: bytes, *, private: bool = True) -> None:
    """Write a file so that, whenever the machine stops, `path` holds the old bytes or the new ones and nothing between.

    Args:
        path: of the file; folders that are missing are made.
        data: its content.
        private: whether the file, and folders that are made, are for their owner only (mode 0600 and 0700).

    Raises:
        OSError: it could not be written; `path` is as it was.
    """
    if private:
        private_folder(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(draft, "xb", opener=owner_only if private else None) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def owner_only(path: str, flags: int) -> int:
    """Opener for `open` that makes the file with mode 0600, so that it is never readable by others, however briefly."""
    return os.open(path, flags, 0o600)


def sync_folder(folder: Path) -> None:
    """Make renames within a folder survive a power cut; Windows has no call for that and needs none."""
    if os.name == "posix":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
