"""The four parts of CodeBLEU, each as per-item counts, and the languages they know.

`words` (n-gram match, and the same with keywords weighted), `syntax` (subtrees), `flow` (data
flow); `keywords` and `flows` are the languages as data.
"""
