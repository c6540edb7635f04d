"""Where the shared corpora are: folders named by the environment, else ``../shared/<name>`` beside the project.

A test that needs a corpus asks for its fixture and is skipped, with the reason, where the folder is absent.
The function serves ``pytest_generate_tests`` hooks, which run before fixtures exist.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A slow machine is no failure. What the environment set already (in CI: the same examples every time) stays.
settings.register_profile("fleetscan", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fleetscan")

PROJECT = Path(__file__).resolve().parent.parent


def corpus_folder(name: str) -> Path | None:
    """The folder of the corpus ``name``: ``$FLEETSCAN_<NAME>``, else ``../shared/<name>``; None if it is no folder."""
    folder = Path(os.environ.get(f"FLEETSCAN_{name.upper()}") or PROJECT.parent / "shared" / name)
    return folder if folder.is_dir() else None


def _require(name: str) -> Path:
    folder = corpus_folder(name)
    if folder is None:
        pytest.skip(f"corpus '{name}' is absent: set FLEETSCAN_{name.upper()} to its folder")
    return folder


@pytest.fixture(scope="session")
def conformance_folder() -> Path:
    """Golden answers of osquery's registry table (FLEETSCAN_CONFORMANCE)."""
    return _require("conformance")


@pytest.fixture(scope="session")
def hives_folder() -> Path:
    """Hives, logs and exports with their truths (FLEETSCAN_HIVES)."""
    return _require("hives")


@pytest.fixture(scope="session")
def corpus_folder_of_rules() -> Path:
    """Public rules and events (FLEETSCAN_CORPUS)."""
    return _require("corpus")


@pytest.fixture(scope="session")
def tradecraft_folder() -> Path:
    """The detection benchmark (FLEETSCAN_TRADECRAFT)."""
    return _require("tradecraft")
