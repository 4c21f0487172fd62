"""What is done to whole caches: verify, repair, convert, merge, rewrite."""
