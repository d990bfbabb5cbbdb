"""Writes text with a trained decoder, scores it, and shows what attention did."""
