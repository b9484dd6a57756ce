"""The command line, the server, the viewer: the only place that knows argv, the environment and HTTP."""
