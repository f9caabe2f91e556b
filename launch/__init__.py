"""Run a recipe: here, under torchrun, on Slurm. Nothing imports this package."""
