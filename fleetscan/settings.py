"""Where the product's own content stands: rules and queries, in a checkout or in an installed package."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent


def content(name: str) -> Path:
    """The folder of that name: ``content/`` inside an installed package, the top of the checkout otherwise."""
    installed = PACKAGE / "content" / name
    return installed if installed.is_dir() else PACKAGE.parent / name
