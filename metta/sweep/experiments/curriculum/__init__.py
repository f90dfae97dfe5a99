"""Curricula: a sweep per task, in an order that is itself a strategy."""
