"""Commands for many machines."""
