"""What a sweep found: its trials as data, as tables, as pictures and as a page."""
