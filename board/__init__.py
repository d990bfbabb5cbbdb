"""Whatever TensorBoard is given: curves, snapshots of attention, pictures, text."""
