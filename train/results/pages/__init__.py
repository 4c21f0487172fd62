"""What people read of a run: one page, a table in LaTeX, pictures."""
