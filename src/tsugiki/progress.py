"""Long work shows how far it is: rows per second and time left, on stderr, in terminals and notebooks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from tsugiki.i18n import text


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Rows per second, once there are any."""
        return Text(text("progress.speed", rate=f"{task.speed:,.0f}") if task.speed else "")


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar for `total` rows; the block calls what it is given with the number of rows that are done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
    shown = console.is_terminal or console.is_jupyter
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task(label, total=total)
        yield lambda rows: bar.advance(task, rows)
