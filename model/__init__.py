"""Character ids to logits. Knows no text, no files, no Hydra, no TensorBoard."""
