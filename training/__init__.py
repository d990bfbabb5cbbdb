"""Training, checkpoints and runs. Knows no text and no Hydra."""
