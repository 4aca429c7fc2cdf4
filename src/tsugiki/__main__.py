"""`python -m tsugiki`."""

from tsugiki.cli.main import main

main()
