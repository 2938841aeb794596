"""What is wrong, as exceptions."""


class Problem:
    """One thing that is wrong: where, what, what to do, and the path, key or operator that it is about."""

    __slots__ = ("code", "column", "file", "hint", "line", "message", "named")

    def __init__(self, code, message, hint=None, file=None, line=None, column=None, named=None):
        self.code = code
        self.message = message
        self.hint = hint
        self.file = file
        self.line = line
        self.column = column
        self.named = named

    def __str__(self):
        place = [str(part) for part in (self.file, self.line, self.column) if part is not None]
        text = ": ".join([":".join(place), self.message] if place else [self.message])
        return f"{text}\n  hint: {self.hint}" if self.hint else text

    def __repr__(self):
        parts = ((name, getattr(self, name)) for name in self.__slots__)
        shown = ", ".join(f"{name}={value!r}" for name, value in parts if value is not None)
        return f"Problem({shown})"

    def __eq__(self, other):
        if not isinstance(other, Problem):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self):
        return hash(tuple(getattr(self, name) for name in self.__slots__))


class Error(Exception):
    """Why djr could not do what was asked for; `problems` has all reasons."""

    def __init__(self, problems):
        self.problems = list(problems)
        super().__init__(self.problems)

    def __str__(self):
        return "\n".join(str(problem) for problem in self.problems)


class RecipeError(Error):
    """The recipe, an argument or an input is not what it should be. Nothing was written."""


class RunError(Error):
    """The run failed. No output stands under its final name, or the message says which do."""


#: What a command exits with, as on the command line.
USAGE, FAILED, INTERRUPTED, TERMINATED = 2, 3, 130, 143


def problems_of(answer):
    """The problems of an answer."""
    return [Problem(**problem) for problem in answer["problems"]]


def sound(answer):
    """The same answer, unless it is one of failure: that is raised."""
    code = answer["exit"]
    if code in (INTERRUPTED, TERMINATED):
        raise KeyboardInterrupt
    if code == USAGE:
        raise RecipeError(problems_of(answer))
    if code == FAILED:
        raise RunError(problems_of(answer))
    return answer
