"""Caches in an object store, read through a local mirror: URLs, the client, what an upload is, mirrors. The client is an extra."""
