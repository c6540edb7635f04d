"""``python -m fleetscan``: the command line without the installed script."""

import sys

from fleetscan.cli import main

sys.exit(main())
