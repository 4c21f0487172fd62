"""Results that others can add to: a data set's recipe, run as one command, the card that it ends in, and the table of all cards."""
