"""Tuning: recipes and rows in, packs out. `codeprompt.training.tune` is the door."""
