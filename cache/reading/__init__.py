"""Looking into a cache: arrays, the table of clips, lists, summaries, copies."""
