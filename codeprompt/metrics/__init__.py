"""Predictions and references to a Score with a signature and an interval.

One file per metric (`METRIC`), named as on the command line with `_` for `-`; beside them `base`
(what a metric is), `files` and `runs` (where items come from) and `compare` (paired tests).
"""
