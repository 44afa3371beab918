"""Train from a checkout: `python train.py [group=option] [setting=value]`. See `--help`."""

import sys

from chirpid.cli.train import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
