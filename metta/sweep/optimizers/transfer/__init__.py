"""Optimization that learns from earlier tasks."""
