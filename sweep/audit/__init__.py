"""How far a score on a cache may be trusted: choice of the epoch, seeds, permuted labels, the smallest difference that can be seen."""
