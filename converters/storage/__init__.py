"""Where a dataset's files lie: the viewer's names on one side, a layout of files on the other."""
