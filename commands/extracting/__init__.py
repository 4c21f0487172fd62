"""The commands that make features: extract, tune, recache."""
