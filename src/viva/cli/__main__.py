"""`python -m viva.cli`, for where the `viva` command is not on the path."""

import sys

from viva.cli import main

sys.exit(main())
