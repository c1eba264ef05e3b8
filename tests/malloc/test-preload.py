#!/usr/bin/env python3
"""A real program with libpheapmalloc gives byte for byte what it gives without.

usage: test-preload.py LIBRARY PROGRAM [NAME=VALUE]...
"""

import os
import shutil
import sys
import tempfile

import programs

SCALE = 1
SKIPPED = 77


def main():
    library, name = sys.argv[1:3]
    settings = dict(pair.split('=', 1) for pair in sys.argv[3:])
    missing = programs.missing(name)
    if missing:
        print(f'not installed: {", ".join(missing)}')
        return SKIPPED
    # One path for both runs: programs print where they are.
    above = tempfile.mkdtemp()
    folder = os.path.join(above, 'work')
    try:
        without = programs.run(name, folder, SCALE, {})
        env = {'LD_PRELOAD': os.path.abspath(library), **settings}
        preloaded = programs.run(name, folder, SCALE, env)
    finally:
        shutil.rmtree(above)
    if not without.output or preloaded.output != without.output:
        print(f'without:\n{without.output[-1000:]!r}\nwith:\n{preloaded.output[-1000:]!r}')
        return 1
    print(f'{len(without.output)} bytes of output; time {without.seconds:.2f} and '
          f'{preloaded.seconds:.2f} s, peak {without.peak} and {preloaded.peak} KiB')
    return 0


if __name__ == '__main__':
    sys.exit(main())
