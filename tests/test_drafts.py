import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tsugiki import drafts

FILES = ("manifest", "tensors", "card")

_WRITER = """
    import os, sys
    from pathlib import Path
    from tsugiki import drafts

    files = {name: name.encode() * 50_000 for name in ("manifest", "tensors", "card")}
    left = 0

    def counted(call):
        def run(*args, **kwargs):
            global left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), 9)
            return call(*args, **kwargs)
        return run

    drafts._swap = counted(drafts._swap)
    # Dies before one of the calls that change something on the disk.
    for place, names in ((os, ("fsync", "mkdir", "rename", "unlink", "rmdir")), (Path, ("open",))):
        for name in names:
            setattr(place, name, counted(getattr(place, name)))

    for number, folder in enumerate(sys.argv[1:]):
        left = number
        if (child := os.fork()) == 0:
            drafts.write_folder(Path(folder), files, replaceable=tuple(files))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere folders cannot change places in one step")
@pytest.mark.parametrize("before", [b"", b"older"])
def test_a_killed_writer_leaves_the_folder_absent_or_whole(tmp_path, before):
    folders = [tmp_path / str(steps) / "it" for steps in range(24)]
    for folder in folders:
        folder.mkdir(parents=True) if before else folder.parent.mkdir()
        for name in FILES if before else ():
            (folder / name).write_bytes(before)
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(_WRITER), *folders],
        env={**os.environ, "PYTHONPATH": str(Path(drafts.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    ended = list(map(int, run.stdout.split()))
    assert set(ended) == {0, -signal.SIGKILL}
    whole = {name: len(name) * 50_000 for name in FILES}
    for folder, code in zip(folders, ended, strict=True):
        found = {p.name: p.stat().st_size for p in folder.iterdir()} if folder.exists() else {}
        assert found in ([whole] if code == 0 else [whole, dict.fromkeys(whole, len(before)) if before else {}])
