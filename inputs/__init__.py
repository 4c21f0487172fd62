"""Inputs: files, folders, lists, published data sets, labelled images. No torch."""
