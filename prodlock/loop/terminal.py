"""Keep the mode of the terminal, which a debugger changes while it reads."""

from __future__ import annotations

import contextlib
import os
import termios


class Terminal:
    """The terminal of this process, if any, with its mode at the start."""

    def __init__(self) -> None:
        self._mode = termios.tcgetattr(0) if os.isatty(0) else None

    def restore(self) -> None:
        """Set the mode again, for example after a process in a debugger was killed."""
        if self._mode:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(0, termios.TCSADRAIN, self._mode)
