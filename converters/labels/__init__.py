"""Grey volumes to segmentations: a threshold, and the connected components of what lies above it."""
