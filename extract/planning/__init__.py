"""Before the first frame: what is refused, what is loaded, and what an extraction will take."""
