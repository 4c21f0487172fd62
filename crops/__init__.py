"""Aligned face crops: their geometry, their JPEG form, their changed views. Extraction writes them, fine-tuning reads them."""
