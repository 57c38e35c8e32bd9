"""`python -m encoders.checkpoints`: look into files of weights, and convert them."""

import sys

from encoders.checkpoints.command import main

sys.exit(main())
