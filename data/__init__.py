"""Text to characters to batches. Knows nothing of models, Hydra or TensorBoard."""
