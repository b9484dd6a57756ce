"""The other converters, each as its users run it, in an environment of their own.

environment.py makes that environment; the other modules run inside it, as `python -m benchmarks.peers.NAME JOB`.
"""
