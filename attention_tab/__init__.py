"""A TensorBoard tab that shows the attention of every head during training."""
