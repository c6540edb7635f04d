"""The command line: one module per verb, found by its name and imported only when it is typed.

A verb module has ``HELP`` (one line), ``configure(parser)`` and ``run(args) -> ExitCode``.
"""

from __future__ import annotations

from fleetscan.cli.main import main

__all__ = ["main"]
