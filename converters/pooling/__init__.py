"""From one scale's voxels to the next's: averages for images, the most frequent label for segmentations.

Windows lie on the global grid: window i of a factor f holds the voxels f*i .. f*i+f-1, cut at the ends of the scale.
"""
