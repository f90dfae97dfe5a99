"""Tasks on whatever cluster a Dask scheduler runs on."""
