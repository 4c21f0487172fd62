"""The commands of `est cache`, and what others say of caches."""
