"""python -m tinyinfogan: the command `tinyinfogan`."""

import sys

from tinyinfogan.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
