"""Run the command: `python -m prodlock`."""

import sys

from prodlock.cli import main

sys.exit(main())
