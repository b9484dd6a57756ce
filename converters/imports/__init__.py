"""Files of other programs added to a dataset as what belongs to its segments: what imports of meshes and of skeletons share."""
