"""Plain Python for djr's choices, draws, merges and cut-offs.

Reads {"rows": [...], "cases": [...]} from standard input and writes, for each case, a line with the rows
that are left of it. A case has the `seed` of its draws and `steps`, as a recipe has them, or `sample`, a
number of rows for Python's own random.sample, or `datasets`, parts of the rows with their weights, of which
`max_sample_num` rows are drawn as Data-Juicer does. With `outputs`, as a recipe has them, its line has the
rows of each. `files` has the rows that a `reference` names, `pictures` the values of each picture (nine by
eight), `offsets` where the line of each row begins.
"""

import json
import math
import random
import sys

WORD = (1 << 64) - 1
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
)


def number_at(data, at, size=8):
    return int.from_bytes(data[at:at + size], "little")


def xxh3(data, seed):
    """XXH3-64 of 4 to 8, or of 17 to 32 bytes, as its specification has it."""
    size = len(data)
    if 4 <= size <= 8:
        seed ^= int.from_bytes((seed & 0xFFFFFFFF).to_bytes(4, "little"), "big") << 32
        flip = ((number_at(SECRET, 8) ^ number_at(SECRET, 16)) - seed) & WORD
        value = (number_at(data, size - 4, 4) + (number_at(data, 0, 4) << 32)) ^ flip
        turned = lambda by: (value << by | value >> (64 - by)) & WORD
        value ^= turned(49) ^ turned(24)
        value = value * 0x9FB21C651E98DF25 & WORD
        value ^= (value >> 35) + size
        value = value * 0x9FB21C651E98DF25 & WORD
        return value ^ value >> 28
    assert 17 <= size <= 32
    value = size * 0x9E3779B185EBCA87
    for at, secret in ((0, 0), (size - 16, 16)):
        low = number_at(data, at) ^ (number_at(SECRET, secret) + seed & WORD)
        high = number_at(data, at + 8) ^ (number_at(SECRET, secret + 8) - seed & WORD)
        value += (low * high & WORD) ^ (low * high >> 64)
    value &= WORD
    value ^= value >> 37
    value = value * 0x165667919E3779F9 & WORD
    return value ^ value >> 32


def measured(row, name):
    if name == "text_len":
        return len(row["text"])
    for key in name.split("."):
        row = row.get(key) if isinstance(row, dict) else None
    return row


def as_number(value):
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if value is None or isinstance(value, (dict, list)) or math.isnan(value):
        return None
    return float(value)


# What a filter measures, and the parameters that bound it.
FILTERS = {
    "text_length_filter": (lambda text: len(text), "min_len", "max_len"),
    "alphanumeric_filter": (lambda text: sum(map(str.isalnum, text)) / len(text), "min_ratio", "max_ratio"),
}


def filtered(rows, name, params, reached):
    """`reached` are the rows that `of all` means."""
    measure, least, most = FILTERS[name]
    measure_of = lambda row: measure(row["text"])

    def bound(name, side):
        written = params.get(name)
        all_rows = isinstance(written, str) and written.endswith(" of all")
        values = sorted(map(measure_of, reached if all_rows else rows))
        if all_rows:
            written = written.removesuffix(" of all")
        if isinstance(written, str) and written.startswith("p"):
            place = float(written[1:]) / 100 * (len(values) - 1)
            below = values[int(place)]
            above = values[min(int(place) + 1, len(values) - 1)]
            share = place - int(place)
            # The nearer value is started from, as numpy does.
            return below + (above - below) * share if share < 0.5 else above - (above - below) * (1 - share)
        if isinstance(written, str):
            mean = sum(values) / len(values)
            spread = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
            return mean + side * float(written.removesuffix("sigma")) * spread
        return side * math.inf if written is None else written

    least, most = bound(least, -1), bound(most, 1)
    left = [at for at, row in enumerate(rows) if least <= measure_of(row) <= most]
    if "keep" in params:
        end, amount = params["keep"].split()
        sign = 1 if end == "worst" else -1
        ranked = sorted(left, key=lambda at: sign * measure_of(rows[at]))
        if ".." in amount:
            first, last = map(int, amount.split(".."))
        elif amount.endswith("%"):
            first, last = 0, int(float(amount[:-1]) / 100 * len(left))
        else:
            first, last = 0, int(amount)
        chosen = set(ranked[first:last])
        left = [at for at in left if at in chosen]
    return [rows[at] for at in left]


def best_first(rows, members, keep):
    """The rows `members` from the one that stays first on; of equal ones the first comes first."""
    if keep == "longest":
        return sorted(members, key=lambda at: -len(rows[at]["text"]))
    if keep == "first":
        return list(members)
    [(end, name)] = keep.items()
    numbers = {at: as_number(measured(rows[at], name)) for at in members}
    known = [at for at in members if numbers[at] is not None]
    sign = -1 if end == "max" else 1
    return sorted(known, key=lambda at: sign * numbers[at]) + [at for at in members if numbers[at] is None]


def standing(rows, params, stands):
    """The rows that stand for themselves, merged with those that they stand for; None is a reference."""
    clusters = {}
    for at, by in enumerate(stands):
        if by is not None:
            clusters.setdefault(by, []).append(at)
    merge = params.get("merge", {})
    taken = lambda at: merged(rows[at], [rows[other] for other in clusters[at]], merge) if len(clusters[at]) > 1 else rows[at]
    return [taken(at) for at in sorted(clusters)]


def joined(rows, params, same):
    """Rows that are the same, directly or through others, and rows of references, have one to stand."""
    seen = [row for file in params.get("reference", []) for row in FILES[file]]
    everyone = seen + rows
    heads = list(range(len(everyone)))
    for at, row in enumerate(everyone):
        for other in range(at):
            if heads[other] != heads[at] and same(everyone[other], row):
                old, new = sorted((heads[other], heads[at]), reverse=True)
                heads = [new if head == old else head for head in heads]
    stands = [None] * len(rows)
    for head in set(heads[len(seen):]):
        members = [at for at in range(len(rows)) if heads[len(seen) + at] == head]
        if head >= len(seen):
            best = best_first(rows, members, params.get("keep", "first"))[0]
            for at in members:
                stands[at] = best
    return standing(rows, params, stands)


def document_deduplicator(rows, params, _):
    key = lambda row: (row["text"].lower() if params.get("lowercase") else row["text"]).strip()
    return joined(rows, params, lambda one, other: key(one) == key(other))


def image_deduplicator(rows, params, _):
    """By `method: dhash`, of pictures of nine by eight values."""
    def hash_of(row):
        values = PICTURES[row["images"][0]]
        return [values[y * 9 + x] < values[y * 9 + x + 1] for y in range(8) for x in range(8)]

    near = lambda one, other: sum(map(bool.__ne__, hash_of(one), hash_of(other))) <= params["threshold"]
    return joined(rows, params, near)


def semantic_deduplicator(rows, params, _):
    """By the vectors of a field."""
    def cosine(one, other):
        one, other = one[params["field"]], other[params["field"]]
        return sum(map(float.__mul__, one, other)) / math.hypot(*one) / math.hypot(*other)

    return joined(rows, params, lambda one, other: cosine(one, other) >= params["threshold"])


def document_minhash_deduplicator(rows, params, _):
    """With `verify: exact` and so many bands that every pair that is near shares one."""
    def windows(row):
        words, size = row["text"].lower().split(" "), params["window_size"]
        return {tuple(words[at:at + size]) for at in range(len(words) - size + 1)}

    share = lambda one, other: len(one & other) / len(one | other)
    seen = [windows(row) for file in params.get("reference", []) for row in FILES[file]]
    sets = [windows(row) for row in rows]
    stay, stands = [], [None] * len(rows)
    for at in best_first(rows, range(len(rows)), params.get("keep", "first")):
        like = lambda other: share(other, sets[at]) >= params["jaccard_threshold"]
        if not any(map(like, seen)):
            stands[at] = next((other for other in stay if like(sets[other])), at)
            stay += [at] if stands[at] == at else []
    return standing(rows, params, stands)


def addend(value):
    try:
        return int(value) if isinstance(value, str) else value if isinstance(value, (int, float)) else None
    except ValueError:
        return as_number(value)


def merged(own, cluster, fields):
    own = dict(own)
    for field, how in fields.items():
        known = [row[field] for row in cluster if row.get(field) is not None]
        if not known:
            continue
        if how == "list":
            own[field] = []
            for value in known:
                for item in value if isinstance(value, list) else [value]:
                    if item not in own[field]:
                        own[field].append(item)
        elif how == "sum":
            numbers = [number for number in map(addend, known) if number is not None]
            if numbers:
                total = 0
                for number in numbers:
                    total += number
                own[field] = total
        elif own.get(field) is None:
            own[field] = known[0]
    return own


def divided(number, shares):
    """Whole parts by shares, and what is left to the greatest fractions, of equal ones to the first."""
    total = sum(shares)
    if not total:
        return [0] * len(shares)
    exact = [number * (share / total) for share in shares]
    parts = [math.floor(part) for part in exact]
    order = sorted((at for at, share in enumerate(shares) if share), key=lambda at: -(exact[at] - parts[at]))
    for at in order[:number - sum(parts)]:
        parts[at] += 1
    return parts


def mixture_selector(rows, params, seed):
    bins, shares = params.get("bins"), params.get("shares", "proportional")
    kinds = {}
    for at, row in enumerate(rows):
        value = measured(row, params["by"]) if "by" in params else None
        if bins:
            number = as_number(value)
            value = None if number is None else sum(start <= number for start in bins)
        kinds.setdefault(value, []).append(at)
    number = params.get("select_num") or params["repeat_to"]
    if isinstance(shares, dict):
        open_shares = [shares.get(str(kind), 0) for kind in kinds]
    else:
        open_shares = [1 if shares == "equal" else len(own) for own in kinds.values()]
    got = [0] * len(kinds)
    most = [math.inf if "repeat_to" in params else len(own) for own in kinds.values()]
    while True:
        parts = divided(number - sum(got), open_shares)
        full = [at for at, part in enumerate(parts) if open_shares[at] and part > most[at]]
        for at in full:
            got[at], open_shares[at] = most[at], 0
        if not full:
            got = [part if share else have for part, share, have in zip(parts, open_shares, got)]
            break
    copies = []
    for own, count in zip(kinds.values(), got):
        whole, rest = divmod(count, len(own))
        drawn = sorted(own, key=lambda at: (xxh3(at.to_bytes(8, "little"), seed), at))[:rest]
        copies += [(copy, at) for copy in range(whole) for at in own] + [(whole, at) for at in drawn]
    return [rows[at] for _, at in sorted(copies)]


def default_rng(seed):
    """The 32-bit words of numpy's default_rng: PCG64 (XSL-RR), seeded by a SeedSequence."""
    mask = 0xFFFFFFFF

    def hasher(constant, multiplier):
        def turned(word):
            nonlocal constant
            word ^= constant
            constant = constant * multiplier & mask
            word = word * constant & mask
            return word ^ word >> 16
        return turned

    into, out = hasher(0x43B0D7E5, 0x931E8875), hasher(0x8B51F9DD, 0x58F38DED)
    pool = [into(word) for word in (seed & mask, seed >> 32, 0, 0)]
    for source in range(4):
        for target in range(4):
            if source != target:
                mixed = 0xCA01F9DD * pool[target] - 0x4973F715 * into(pool[source]) & mask
                pool[target] = mixed ^ mixed >> 16
    words = [out(pool[at % 4]) for at in range(8)]
    wide = [words[at] | words[at + 1] << 32 for at in range(0, 8, 2)]
    whole = (1 << 128) - 1
    increment = (wide[2] << 64 | wide[3]) << 1 & whole | 1
    step = lambda state: state * 0x2360ED051FC65DA44385DF649FCCF645 + increment & whole
    state = step((wide[0] << 64 | wide[1]) + increment & whole)
    while True:
        state = step(state)
        folded, by = (state >> 64 ^ state) & WORD, state >> 122
        folded = (folded >> by | folded << 64 - by) & WORD
        yield folded & mask
        yield folded >> 32


def shuffled(count, seed):
    """numpy's permutation: from the last place down, each with one before it or itself."""
    order, words = list(range(count)), default_rng(seed)
    for last in range(count - 1, 0, -1):
        other = next(word for drawn in words if (word := drawn & (1 << last.bit_length()) - 1) <= last)
        order[last], order[other] = order[other], order[last]
    return order


def mixed(rows, datasets, most):
    """Of each dataset (its rows from, to, its weight) its share, shuffled by 42, in the order of the rows."""
    whole, left = sum(weight for _, _, weight in datasets), []
    for start, end, weight in datasets:
        share = min(math.ceil(most * (weight / whole)), most - len(left))
        drawn = range(end - start) if share == end - start else sorted(shuffled(end - start, 42)[:share])
        left += [rows[start + at] for at in drawn]
    return left


def written(rows, left, output, offsets, seed):
    """The rows of an output, of those that there were and of those that are left."""
    kept = {row["id"] for row in left}
    of = output.get("of", "kept")
    rows = left if of == "kept" else rows if of == "all" else [row for row in rows if row["id"] not in kept]
    if "where" in output:
        rows = [row for row in rows if eval(output["where"], {}, row)]
    if "sample" in output:
        place = lambda row: offsets[row["id"]]
        draw = lambda row: (xxh3(place(row).to_bytes(8, "little"), output.get("seed", seed)), place(row))
        rows = sorted(rows, key=draw)[:output["sample"]]
        rows = rows if output.get("shuffle") else sorted(rows, key=place)
    return rows


def main():
    global FILES, PICTURES
    asked = json.load(sys.stdin)
    FILES, PICTURES = asked.get("files", {}), asked.get("pictures", {})
    for case in asked["cases"]:
        rows = asked["rows"]
        if "sample" in case:
            rows = [rows[at] for at in random.Random(case["seed"]).sample(range(len(rows)), case["sample"])]
        if "datasets" in case:
            rows = mixed(rows, case["datasets"], case["max_sample_num"])
        before, reached = {}, None
        for step in case.get("steps", []):
            [(name, params)] = step.items()
            if name in FILTERS:
                # Those that wait for all rows and stand side by side cut the same rows.
                waits = any(isinstance(value, str) for value in params.values())
                reached = (reached or rows) if waits else None
                rows = filtered(rows, name, params, reached or rows)
                continue
            reached = None
            count = before[name] = before.get(name, -1) + 1
            draw = None
            if name == "mixture_selector":
                draw = xxh3(count.to_bytes(8, "little") + name.encode(), case["seed"])
            rows = globals()[name](rows, params, draw)
        if "outputs" in case:
            rows = [written(asked["rows"], rows, output, asked["offsets"], case["seed"]) for output in case["outputs"]]
        print(json.dumps(rows))


main()
