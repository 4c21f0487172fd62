"""Names of what lies on a hub."""

from __future__ import annotations

import pytest

from est.errors import UsageError
from est.hub.names import HubName, same_weights

COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize(
    "text", ["hub:a/b", "hub:a/b@v1", "hub:a/b/w.safetensors", f"hub:a.b/c_d/x/y.safetensors@{COMMIT}"]
)
def test_a_name_is_written_as_it_is_read(text):
    assert str(HubName.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["hub:", "hub:a", "hub:a/", "hub:/b", "hub:a/b@", "hub:a/../b", "hub:a/b/../c", "a/b", "hub:a b/c"]
)
def test_other_texts_are_refused(text):
    with pytest.raises(UsageError, match="hub:ORG/NAME"):
        HubName.parse(text)


def test_a_branch_may_be_what_was_recorded_and_another_commit_is_not():
    recorded = f"hub:a/b/w.safetensors@{COMMIT}"
    assert HubName.parse(recorded).is_pinned
    for asked in ("hub:a/b", "hub:a/b@main", "hub:a/b/w.safetensors", recorded):
        assert same_weights(asked, recorded)
    for asked in ("hub:a/c", "hub:a/b/v.safetensors", f"hub:a/b@{COMMIT[::-1]}", "imagenet"):
        assert not same_weights(asked, recorded)
    assert same_weights("imagenet", "imagenet")
