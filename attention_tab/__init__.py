"""A tab of TensorBoard that shows what every attention head looks at, while it learns."""
