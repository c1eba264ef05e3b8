#!/usr/bin/env python3
"""Real programs with libpheapmalloc and with other libraries of malloc: time and peak memory.

usage: preload.py [--rounds N] [--scale N] [--against FILE]... [PROGRAM]... LIBRARY

Each round runs each program with each library in turn, so that what disturbs the machine
disturbs all. Given are medians of user and system time and of peak resident memory, and the
ratios to the first library of --against (mimalloc). Without is glibc's malloc.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), '..', 'malloc'))

import programs  # noqa: E402, pylint: disable=wrong-import-position

FOLDER = '/usr/lib/x86_64-linux-gnu/'
TARGET_TIME = 1.05
TARGET_PEAK = 1.10


def libraries(args):
    chosen = {'pheap': os.path.abspath(args.library)}
    for path in args.against or [FOLDER + 'libmimalloc.so.2.0']:
        chosen[os.path.basename(path).split('.')[0][3:]] = path
    chosen['without'] = None
    return chosen


def measure(name, chosen, rounds, scale):
    results = {library: [] for library in chosen}
    above = tempfile.mkdtemp()
    try:
        for _ in range(rounds):
            for library, path in chosen.items():
                env = {'LD_PRELOAD': path} if path else {}
                results[library].append(
                    programs.run(name, os.path.join(above, 'work'), scale, env))
    finally:
        shutil.rmtree(above)
    if len({r.output for runs in results.values() for r in runs}) > 1:
        print(f'{name}: the outputs differ', file=sys.stderr)
        return None
    return {library: (statistics.median(r.seconds for r in runs),
                      statistics.median(r.peak for r in runs))
            for library, runs in results.items()}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--scale', type=int, default=8)
    parser.add_argument('--against', action='append')
    parser.add_argument('program', nargs='*')
    parser.add_argument('library')
    args = parser.parse_args()
    chosen = libraries(args)
    names = list(chosen)
    failed = False
    print('program'.ljust(15) + ''.join(f'{n + " s":>12}{"MiB":>8}' for n in names) +
          f'{"time":>8}{"peak":>7}')
    for name in args.program or programs.PROGRAMS:
        if programs.missing(name):
            print(f'{name:15}not installed')
            continue
        medians = measure(name, chosen, args.rounds, args.scale)
        if not medians:
            failed = True
            continue
        ours, peer = medians[names[0]], medians[names[1]]
        times, peak = ours[0] / peer[0], ours[1] / peer[1]
        missed = ' missed' if times > TARGET_TIME or peak > TARGET_PEAK else ''
        print(f'{name:15}' + ''.join(f'{medians[n][0]:12.3f}{medians[n][1] / 1024:8.1f}'
                                     for n in names) + f'{times:8.3f}{peak:7.3f}{missed}',
              flush=True)
    return failed


if __name__ == '__main__':
    sys.exit(main())
