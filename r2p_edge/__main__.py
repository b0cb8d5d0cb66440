"""`python -m r2p_edge` is `r2p-edge`."""

import sys

from r2p_edge.cli import main

sys.exit(main())
