"""`python -m monolith_tf` is the `monolith-tf` command."""

import sys

from monolith_tf.commands.main import main

sys.exit(main())
