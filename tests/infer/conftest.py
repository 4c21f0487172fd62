"""The sample that the tests of prediction share."""

import pytest


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """Rendered faces, their cache, and a run on it."""
    from predict_samples import make_sample

    return make_sample(tmp_path_factory.mktemp("predict"))


@pytest.fixture(autouse=True)
def no_note_for_the_user(tmp_path, monkeypatch):
    """What a user is told once is kept in the test's folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
