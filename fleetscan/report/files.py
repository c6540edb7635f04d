"""Files of reports: written whole or not at all, and a failure is one line."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fleetscan.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO


@contextmanager
def whole_file(path: Path, *, encoding: str = "utf-8") -> Iterator[TextIO]:
    """A text file that takes its name only when everything was written; line breaks are written as given.

    A link stays and its target is written; what is no regular file (a pipe, ``/dev/stdout``) is written as it is.
    Raises SettingsError when the folder cannot be made or the file cannot be written.
    """
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            with path.open("w", encoding=encoding, newline="") as stream:
                yield stream
            return
    except (OSError, RuntimeError) as error:
        raise _cannot_write(path, error) from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _cannot_write(path, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding=encoding, newline="") as stream:
            yield stream
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _cannot_write(path: Path, error: OSError | RuntimeError) -> SettingsError:
    return SettingsError(
        f"the report cannot be written: {getattr(error, 'strerror', None) or error}",
        where=str(path),
        hint="name a file in a folder that you can write to",
    )


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
