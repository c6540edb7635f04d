"""A store for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleetscan.store.sql import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fleetscan.store.interface import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty SQLite store."""
    with open_store(tmp_path / "store.db") as opened:
        yield opened
