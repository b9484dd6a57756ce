"""Sources, geometry, storage, planning and the parallel work that turns a volume into a dataset. No HTTP, no argv."""
