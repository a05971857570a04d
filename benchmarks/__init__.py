"""Benchmarks: each verifies its result and is measured beside a baseline in the same run.

One file for each topology; ``python -m benchmarks`` runs those that need nothing from
outside. See docs/benchmarks.md for how to read the figures.
"""
