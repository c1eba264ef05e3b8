#!/usr/bin/env python3
"""The allocator workloads under several mallocs, in turns.

usage: compare.py PROGRAM [--library NAME=PATH]... [--threads 1,2] [--reps 5] [--scale 10]
                  [--check] [WORKLOAD...]

Prints a table with tabs: workload, threads, and for each library the median of wall ns and
of processor ns an operation, and of the peak of memory in KiB. "glibc" is the program
alone; of mimalloc, jemalloc, tcmalloc and tbbmalloc those that Debian has installed are taken.

--check verifies instead: every byte of every block, once, at the smallest scale; all libraries
have to come to the same sums. No time is looked at.
"""

import argparse
import os
import statistics
import subprocess
import sys

FOLDER = '/usr/lib/x86_64-linux-gnu'
KNOWN = {
    'mimalloc': 'libmimalloc.so.2',
    'jemalloc': 'libjemalloc.so.2',
    'tcmalloc': 'libtcmalloc_minimal.so.4',
    'tbbmalloc': 'libtbbmalloc_proxy.so.2',
}


def libraries(more):
    found = {'glibc': None}
    for item in more:
        name, _, path = item.partition('=')
        if not os.path.exists(path):
            sys.exit(f'compare.py: {path}: there is no such library')
        found[name] = os.path.abspath(path)
    for name, file in KNOWN.items():
        path = os.path.join(FOLDER, file)
        if os.path.exists(path):
            found[name] = path
    return found


def run(program, library, threads, scale, workload, verify):
    """One line of the program's: wall ns, processor ns, KiB, sum."""
    env = {name: value for name, value in os.environ.items() if name != 'LD_PRELOAD'}
    if library:
        env['LD_PRELOAD'] = library
    command = [program, '--threads', str(threads), '--scale', str(scale)]
    command += ['--verify'] if verify else []
    done = subprocess.run([*command, workload], env=env, capture_output=True, text=True,
                          timeout=600, check=False)
    if done.returncode or done.stderr:
        raise RuntimeError(f'{workload} with {library or "glibc"}: {done.stderr.strip()} '
                           f'(status {done.returncode})')
    _, used, _, wall, cpu, peak, total = done.stdout.split('\t')
    return int(used), float(wall), float(cpu), int(peak), total.strip()


def compare(args, found, workload, threads):
    rows = {name: [] for name in found}
    for _ in range(1 if args.check else args.reps):
        for name, library in found.items():
            rows[name].append(run(args.program, library, threads, 1 if args.check else args.scale,
                                  workload, args.check))
    sums = {row[4] for lines in rows.values() for row in lines}
    if len(sums) != 1:
        raise RuntimeError(f'{workload} comes to different sums: {sums}')
    print(workload, threads,
          *(f'{statistics.median(row[i] for row in rows[name]):.{digits}f}'
            for name in found for i, digits in ((1, 1), (2, 1), (3, 0))), sep='\t', flush=True)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('program')
    parser.add_argument('--library', action='append', default=[])
    parser.add_argument('--threads', default='1,2')
    parser.add_argument('--reps', type=int, default=5)
    parser.add_argument('--scale', type=int, default=10)
    parser.add_argument('--check', action='store_true')
    parser.add_argument('workload', nargs='*')
    args = parser.parse_intermixed_args()
    found = libraries(args.library)
    names = args.workload or subprocess.run([args.program, '--list'], check=True, text=True,
                                            capture_output=True).stdout.split()
    print('workload', 'threads',
          *(f'{name} {what}' for name in found for what in ('ns', 'cpu ns', 'KiB')), sep='\t')
    for workload in names:
        for threads in map(int, args.threads.split(',')):
            if run(args.program, None, threads, 1, workload, False)[0] != threads:
                continue  # it has one thread only
            compare(args, found, workload, threads)


if __name__ == '__main__':
    try:
        main()
    except RuntimeError as error:
        sys.exit(f'compare.py: {error}')
