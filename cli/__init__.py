"""The thin shell around Hydra: one-line errors, free text, sweeps. The only room that imports hydra."""
