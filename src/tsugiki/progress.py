"""Long work shows how far it is: rows per second and time left, on stderr, in terminals and notebooks."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from tsugiki.i18n import text

_REDRAW_S = 0.2


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Rows per second, once there are any."""
        return Text(text("progress.speed", rate=f"{task.speed:,.0f}") if task.speed else "")


class _NotebookBars(Progress):
    """Bars in the output of a cell, where they stay when they are full.

    Rich's own need ipywidgets, and these an extension in each front end; an output that is replaced shows everywhere.
    """

    _output: Any = None
    _drawn_s = 0.0

    def stop(self) -> None:
        """Show how it ended."""
        self.refresh()

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Advance, and redraw a few times per second."""
        super().advance(task_id, advance)
        if time.monotonic() - self._drawn_s > _REDRAW_S:
            self.refresh()

    def refresh(self) -> None:
        """Put the bars as they are in the place of what is shown."""
        from IPython.display import display

        self._drawn_s = time.monotonic()
        table = self.make_tasks_table(self.tasks)
        if self._output is None:
            self._output = display(table, display_id=True)
        else:
            self._output.update(table)


def bars(*columns: ProgressColumn) -> Progress:
    """Bars of these columns, where somebody may be watching."""
    console = Console(stderr=True)
    if console.is_jupyter:
        return _NotebookBars(*columns, console=console, disable=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar for `total` rows; the block calls what it is given with the number of rows that are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
    with bars(*columns) as shown:
        task = shown.add_task(label, total=total)
        yield lambda rows: shown.advance(task, rows)
