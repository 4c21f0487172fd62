"""How the rows of a table are measured and shown: one file a kind of table."""
