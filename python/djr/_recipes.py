"""Recipes as users have them: a path, YAML text, or a dict."""

import os


def written(recipe, read=False):
    """The path of a recipe and None, or `-` and what stands for it.

    With `read`, files are read now: what comes of it needs no file any more.
    """
    if isinstance(recipe, dict):
        return "-", ("recipe", *_as_text(recipe), None)
    if not isinstance(recipe, (str, os.PathLike)):
        kind = type(recipe).__name__
        raise TypeError(f"a recipe is a path, YAML text or a dict, not a {kind}")
    path = os.fspath(recipe)
    if isinstance(recipe, str) and _is_text(recipe):
        return "-", ("recipe", recipe, False, None)
    if not read:
        return path, None
    from ._errors import Problem, RecipeError

    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem("recipe_unreadable", f"cannot read the recipe: {error}", file=path)
        raise RecipeError([problem]) from error
    return "-", (path, text, False, os.path.dirname(os.path.abspath(path)))


def _is_text(recipe):
    """Whether a str is YAML and no path: no path that exists has a line break or a key."""
    if "\n" in recipe:
        return True
    return (": " in recipe or recipe.rstrip().endswith(":")) and not os.path.exists(recipe)


def _as_text(recipe):
    """A dict as JSON, or, with numbers that JSON has no word for, as YAML; and whether it is JSON."""
    import json

    try:
        return json.dumps(recipe, allow_nan=False, default=_plain), True
    except ValueError:
        return _yaml(recipe), False


def _plain(value):
    """What json does not know."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    # Numbers of numpy and the like.
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0:
        return item()
    raise TypeError(f"a recipe has no place for a {type(value).__name__}")


def _yaml(value):
    import json
    import math

    if isinstance(value, dict):
        pairs = (f"{json.dumps(str(key))}: {_yaml(item)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return ".nan"
        return ".inf" if value > 0 else "-.inf"
    return json.dumps(value, default=_plain)


def settings(sets):
    """`{"np": 4, "text_length_filter.max_len": 200}` as pairs of a key and its value in YAML."""
    if not sets:
        return []
    pairs = sets.items() if isinstance(sets, dict) else sets
    return [(str(key), value if isinstance(value, str) else _yaml(value)) for key, value in pairs]
