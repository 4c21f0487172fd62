"""What tests of submissions share."""

from __future__ import annotations

import pytest
from cluster_samples import planned, use_fakes


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A submission that is written down, and of which nothing is done."""
    use_fakes(monkeypatch)
    return planned(tmp_path)
