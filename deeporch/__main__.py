"""``python -m deeporch``: the command line."""

import sys

from .cli import main

sys.exit(main())
