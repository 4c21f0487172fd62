"""The Transformer baseline of the EST paper (Table 6): no AA-SFE, no SSOP."""
