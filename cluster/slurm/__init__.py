"""Jobs of Slurm: by submitit, or as scripts for sbatch."""
