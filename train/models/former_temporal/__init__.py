"""The temporal half of Former-DFER, on frame features."""
