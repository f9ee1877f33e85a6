"""Marks and places shared by all tests."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
# Before torch is loaded, and for all that tests start: threads of several processes on the same cores wait for each
# other, and a step takes twice as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The same examples in every run, however long one takes.
settings.register_profile("dkd", derandomize=True, database=None, deadline=None)
settings.load_profile("dkd")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("shared") and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"reference data not found at {SHARED}"))


@pytest.fixture
def shared() -> Path:
    return SHARED


@pytest.fixture
def golden():
    return lambda name: json.loads((SHARED / "golden" / name).read_text())
