"""Benchmarks: suites as data, cells that are run once each, results that a reviewer can check.

`suite` reads what is asked, `expand` makes its cells, `run` fills a folder of results (`results`),
`tables` compares them, `report` shows them.
"""
