"""Reports of benchmark runs: one page that needs no network, figures and tables as files.

    write_report([Path("runs/low-resource")], Path("report.html"))

`source` reads a results folder, `grid` and `figures` make its tables and plots, `answers` picks
examples, `board` sets several runs beside each other, `page` renders, `write` puts it all on disk.
Nothing here reads a table's numbers anew: they are those of `tables.json`.
"""

from codeprompt.bench.report.write import write_report

__all__ = ["write_report"]
