"""Optimization that learns from all rungs of a scheduler."""
