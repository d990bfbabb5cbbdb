"""Token ids to logits. Knows no text, no files, no sampling."""
