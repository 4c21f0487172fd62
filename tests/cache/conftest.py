"""What the tests of stores share: a URL in a store that is a folder."""

import obstore
import obstore.store
import pytest
from store_samples import folder_of

from est.cache.remote import client


@pytest.fixture
def url(monkeypatch, tmp_path):
    """A URL where nothing is yet, in a store that is a folder, by the same client; and a folder of mirrors."""
    monkeypatch.setattr(
        client, "_open", lambda address: (obstore, obstore.store.LocalStore(prefix=folder_of(tmp_path), mkdir=True))
    )
    monkeypatch.setenv("EST_MIRRORS", str(tmp_path / "mirrors"))
    return "s3://bucket/c.zarr"


@pytest.fixture
def there(url, tmp_path):
    """The folder of the URL's objects."""
    return folder_of(tmp_path)
