"""Everything TensorBoard is given: curves, attention snapshots, pictures, text."""
