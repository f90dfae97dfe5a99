"""Strategies: the phases of a search as stages of a pipeline. `phases.py` beside this package lists them."""
