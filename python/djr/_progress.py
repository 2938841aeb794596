"""Progress where the user sees it: a line that is drawn over again on a terminal and in a notebook."""

import sys

#: Columns of a line in a notebook, which has no width.
COLUMNS = 100


class Line:
    """Draws a line on standard error, and takes it away."""

    def __init__(self):
        self.drawn = 0

    def __call__(self, line):
        blank = " " * (self.drawn - len(line))
        sys.stderr.write(f"\r{line}{blank}")
        sys.stderr.flush()
        self.drawn = len(line)

    def clear(self):
        """Leaves nothing behind."""
        if self.drawn:
            self("")
            sys.stderr.write("\r")
            sys.stderr.flush()


class Heard:
    """A function of the user's, which draws for itself."""

    def __init__(self, function):
        self.function = function

    def __call__(self, line):
        self.function(line)

    def clear(self):
        """There is nothing of ours."""


def _is_seen():
    """Whether standard error is a terminal or a notebook's."""
    stream = sys.stderr
    if stream is None:
        return False
    try:
        if stream.isatty():
            return True
    except (AttributeError, ValueError):
        return False
    return type(stream).__module__.startswith("ipykernel")


def listener(progress):
    """Who hears of progress: `progress` if it is a function, else a line where it can be seen.

    None asks for the latter, True draws it anywhere, False nowhere.
    """
    if callable(progress):
        return Heard(progress)
    if progress is False or (progress is None and not _is_seen()):
        return None
    return Line()


def width():
    """The columns of the terminal, or enough of a notebook's."""
    import os

    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or COLUMNS
    except (AttributeError, OSError, ValueError):
        return COLUMNS


class Shown:
    """Progress while something goes on: `with Shown(progress) as hearer`."""

    def __init__(self, progress):
        self.listener = listener(progress)

    def __enter__(self):
        return None if self.listener is None else (width(), self.listener)

    def __exit__(self, *_):
        if self.listener is not None:
            self.listener.clear()
