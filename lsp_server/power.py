"""Whether passive features should rest: on battery, or while memory is short."""

from __future__ import annotations

import time

from lsp_server.settings import Pause

FRESH_SECONDS = 10.0
MB = 1 << 20


class Power:
    """The machine's state, asked for at most every ten seconds."""

    def __init__(self) -> None:
        self._looked = -FRESH_SECONDS
        self._battery, self._free = False, 1 << 20

    def rest(self, pause: Pause) -> str:
        """Why passive features rest; "" where they need not."""
        self._look()
        if pause.on_battery and self._battery:
            return "on battery"
        if self._free < pause.memory:
            return f"memory is short ({self._free} MB free)"
        return ""

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < FRESH_SECONDS:
            return
        import psutil

        self._looked = now
        battery = None
        if hasattr(psutil, "sensors_battery"):
            try:
                battery = psutil.sensors_battery()
            except (OSError, RuntimeError, NotImplementedError):
                battery = None
        self._battery = battery is not None and battery.power_plugged is False
        self._free = int(psutil.virtual_memory().available // MB)
