"""Surfaces of triangles in files of other programs: STL, OBJ, PLY, GIfTI, VTK."""
