"""The pipeline language: an immutable builder, its steps, hooks and the Context view."""
