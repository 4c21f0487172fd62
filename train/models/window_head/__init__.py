"""A head on features of windows of several kinds, as PTH-Net's."""
