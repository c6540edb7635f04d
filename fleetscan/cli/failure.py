"""Any error in one line: where, what, what to try; and the traceback for whoever asks for it.

``FLEETSCAN_DEBUG=1`` in the environment prints the traceback of any error before its line, that of a host whose path
ended in an internal error, and what libraries log.
"""

from __future__ import annotations

import errno
import logging
import os
import traceback
from pathlib import Path

from fleetscan.errors import FleetscanError

DEBUG = "FLEETSCAN_DEBUG"
KEEPS = {"sweep": "the same with --resume", "run": "fleetscan sweep --resume, with what the job names"}
"""Verbs that can be gone on with, and how."""


def debugging() -> bool:
    """Does the user want tracebacks?"""
    return bool(os.environ.get(DEBUG))


def log_everything() -> None:
    """Let the logs of fleetscan and its libraries, tracebacks included, through to standard error."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("fleetscan").setLevel(logging.DEBUG)


def in_words(error: BaseException, verb: str | None = None) -> str:
    """An error in one line."""
    match error:
        case FleetscanError():
            return str(error)
        case KeyboardInterrupt():
            hint = f" (try: {KEEPS[verb]})" if verb in KEEPS else ""
            return f"interrupted; what was stored is kept{hint}"
        case MemoryError():
            return "out of memory (try: fewer hosts at once with --concurrency, or fewer files)"
        case RuntimeError() if "start new thread" in str(error):
            return "this machine allows no more threads (try: fewer hosts at once with --concurrency)"
        case OSError():
            where = f"{error.filename}: " if error.filename is not None else "output: "
            hint = "free space on the disk" if error.errno == errno.ENOSPC else "check the path and its permissions"
            return f"{where}{error.strerror or error} (try: {hint})"
        case _:
            return (
                f"{_place(error)}: a bug of fleetscan: {type(error).__name__}: {error}"
                f" (try: the same command with {DEBUG}=1, and report what it prints)"
            )


def _place(error: BaseException) -> str:
    """File and line where a bug showed itself."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "fleetscan"
