"""Brain images: NIfTI and Analyze, MGH, AFNI."""
