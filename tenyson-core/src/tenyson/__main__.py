"""`python -m tenyson` is the same as `tenyson`."""

import sys

from tenyson.cli.main import main

sys.exit(main())
