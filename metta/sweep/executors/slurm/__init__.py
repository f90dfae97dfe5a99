"""Tasks as jobs of a SLURM cluster: what is asked for, as a batch script; what becomes of it, from SLURM's programs."""
