"""The tables and figures of the EST paper on any cache: rows that are trained once, measured, compared, written and drawn."""
