"""How long a computing thread waits awake for the others.

Torch's products are shared by GNU OpenMP's threads, and each waits at a product's end for the
slowest. Awake, it takes the next one up at once; but on a machine whose cores have other work too,
it keeps from running the very thread that it waits for. GNU's own bound, 300,000 looks, is longer
than the system lets a process run at a time; the one here is shorter than that and longer than what
lies between two products (docs/experiments.md, "Threads that wait awake"). The library reads these
variables when torch is loaded, so they are set before.
"""

from __future__ import annotations

import os

SPINS = "GOMP_SPINCOUNT"
POLICY = "OMP_WAIT_POLICY"
ASLEEP = {POLICY: "PASSIVE", SPINS: "0"}
"""Of a process that others shall not notice: its threads wait asleep."""


def wait_briefly() -> None:
    """In this process and its children, unless the user has said how threads wait."""
    if POLICY not in os.environ:
        os.environ.setdefault(SPINS, "30000")
