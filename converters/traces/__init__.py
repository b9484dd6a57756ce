"""Light microscopy to neurons: labels, meshes, skeletons and what is told of them, from one source at one go."""
