"""`python -m deltamask.cli`: what the `deltamask` command runs."""

import sys

from deltamask.cli import main

sys.exit(main())
