"""What needs no model: one file a baseline (`BASELINE`), for every task it fits."""
