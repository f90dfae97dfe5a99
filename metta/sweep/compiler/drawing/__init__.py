"""Drawings of a pipeline: a model that outlives the code it was made from, and what is drawn from it."""
