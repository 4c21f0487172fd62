"""The search for settings: a study per outer fold and one for its control, the table of their trials, their pictures, and the page."""
