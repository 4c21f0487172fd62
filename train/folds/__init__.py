"""Who is trained on and who is tested: annotations, protocols, folds, leaks, duplicates."""
