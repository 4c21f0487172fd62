"""Data sets of micro-expressions: CASME II, SAMM, SMIC, and the composite of the three that MEGC 2019 scores."""
