"""What ``deeporch train`` was called when the first networks were trained: their cards name it."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
