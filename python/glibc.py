#!/usr/bin/env python3
"""Proves which glibc a wheel asks for, by what its extension says to the loader.

    python/glibc.py WHEEL [NEWEST]       # fails if it asks for a newer one than NEWEST (2.28)
"""

import struct
import sys
import zipfile

#: Section types of ELF.
STRTAB, VERNEED = 3, 0x6FFFFFFE


def needed(elf):
    """The versions that an ELF file needs, by library."""
    if elf[:4] != b"\x7fELF" or elf[4] != 2 or elf[5] != 1:
        raise ValueError("no ELF file of 64 bits")
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    size, count = struct.unpack_from("<HH", elf, 0x3A)
    sections = []
    for number in range(count):
        kind, offset, link = struct.unpack_from("<4xI16xQ8xI", elf, table + number * size)
        sections.append((kind, offset, link))
    found = {}
    for kind, offset, link in sections:
        if kind != VERNEED:
            continue
        names = sections[link][1]

        def name(at, names=names):
            start = names + at
            return elf[start : elf.index(b"\0", start)].decode()

        more = True
        while more:
            _, versions, file, first, following = struct.unpack_from("<HHIII", elf, offset)
            at = offset + first
            for _ in range(versions):
                _, _, _, version, step = struct.unpack_from("<IHHII", elf, at)
                found.setdefault(name(file), set()).add(name(version))
                at += step
            offset += following
            more = following != 0
    return found


def number(version):
    """`GLIBC_2.28` as numbers that can be compared."""
    return tuple(int(part) for part in version.removeprefix("GLIBC_").split("."))


def main(wheel, newest="2.28"):
    """Prints what the wheel needs."""
    worst = (0,)
    with zipfile.ZipFile(wheel) as files:
        for name in files.namelist():
            if not name.endswith(".so"):
                continue
            for library, versions in sorted(needed(files.read(name)).items()):
                glibc = [it for it in versions if it.startswith("GLIBC_") and it[6:7].isdigit()]
                worst = max([worst, *map(number, glibc)])
                last = max(glibc, key=number, default="no version of glibc")
                print(f"{name}: {library} up to {last}")
    shown = ".".join(map(str, worst))
    if worst > number(newest):
        sys.exit(f"glibc {shown} is asked for, which is newer than {newest}")
    print(f"runs on glibc {shown} and later")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
