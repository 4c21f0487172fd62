"""The search: studies of trials in the training half of each outer fold, and what is trained with the choice."""
