"""What to train: recipe files, their strict schema, and the arithmetic of a run. Imports neither torch nor NeMo."""
