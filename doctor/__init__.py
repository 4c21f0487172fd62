"""What a machine has: versions, devices, codecs, weights, disk; each problem with the command that fixes it."""
