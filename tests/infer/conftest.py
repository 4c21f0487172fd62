"""The sample that the tests of prediction share."""

import pytest


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """Rendered faces, their cache, and a run on it."""
    from predict_samples import make_sample

    return make_sample(tmp_path_factory.mktemp("predict"))
