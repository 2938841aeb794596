"""The console script `djr`: the command line, in this process."""

import os
import sys


def main():
    """Runs the command line of this process and exits as it says."""
    import signal

    from ._djr import main as program

    # Ctrl-C is the program's own business: it makes a checkpoint and exits with 130.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Models run in the environment that djr is installed in, unless somebody says another.
    if not os.environ.get("DJR_PYTHON"):
        os.environ["DJR_PYTHON"] = sys.executable
    sys.exit(program(sys.argv))
