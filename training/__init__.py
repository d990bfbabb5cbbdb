"""Whatever changes weights or remembers a run. Knows no text and no Hydra."""
