"""On what a figure was measured."""

import platform

import torch


def machine() -> str:
    """Processor, threads and versions."""
    found = platform.processor() or platform.machine()
    return f"{found}, {torch.get_num_threads()} threads, Python {platform.python_version()}, torch {torch.__version__}"
