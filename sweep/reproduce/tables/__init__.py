"""The tables and figures of the EST paper: which rows each has. This folder alone knows single models: their settings are its subject."""
