"""The commands that look at runs and use them."""
