"""The tree of runs below a run: read, summed up at the leaves, drawn."""
