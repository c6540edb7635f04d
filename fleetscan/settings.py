"""Where things stand unless somebody says otherwise: the product's own rules and queries, and the store."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent
DEFAULT_STORE = "fleetscan.db"
"""In the folder in which a command is given."""


def content(name: str) -> Path:
    """The folder of that name: ``content/`` inside an installed package, the top of the checkout otherwise."""
    installed = PACKAGE / "content" / name
    return installed if installed.is_dir() else PACKAGE.parent / name
