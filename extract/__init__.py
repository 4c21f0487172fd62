"""Stage one: videos → per-frame face features, written through `est.cache`."""
