#!/usr/bin/env python3
"""Put figures into docs/performance.md, from files that hold what the programs printed.

    build/tests/bench/compare --plot docs/performance.svg >compare.txt
    build/tests/bench/instructions >instructions.txt
    valgrind --tool=callgrind --callgrind-out-file=publish.out \\
        --toggle-collect=operation_publish \\
        build/tests/bench/instructions --run publish 10000
    callgrind_annotate publish.out >profile.txt
    build/tests/bench/volbench >volbench.txt
    tests/bench/fill-docs.py docs/performance.md compare.txt instructions.txt profile.txt \\
        volbench.txt

A figure goes where the document says `<!-- begin NAME -->`, up to `<!-- end NAME -->`.
"""

import collections
import os
import re
import sys


class Compare:
    """What compare printed: its table, and its notes by their first words."""

    def __init__(self, path):
        self.rows = []
        self.notes = []
        with open(path, encoding='utf-8') as file:
            for line in file:
                line = line.rstrip('\n')
                if line.startswith('# '):
                    self.notes.append(line[2:])
                elif not line.startswith('workload\t'):
                    self.rows.append(line.split('\t'))
        if not self.rows:
            sys.exit(f'{path}: no table; is it what compare printed on standard output?')

    def starting(self, start):
        return [note for note in self.notes if note.startswith(start)]

    def disturbed(self):
        found = set()
        for note in self.starting('disturbed '):
            match = re.match(r'disturbed (\S+) (\S+) (\d+) ([\w-]+):', note)
            if match:
                found.add(match.groups())
        return found


def table(header, rows):
    lines = ['| ' + ' | '.join(header) + ' |',
             '|---' * 1 + '|---:' * (len(header) - 1) + '|']
    lines += ['| ' + ' | '.join(row) + ' |' for row in rows]
    return '\n'.join(lines)


def short(text):
    value = float(text)
    return f'{value:.0f}' if value >= 100 else f'{value:.1f}' if value >= 10 else f'{value:.2f}'


def host(compare):
    lines = []
    for start in ('machine: ', 'kernel: ', 'flush instruction: ', 'floor: '):
        lines += compare.starting(start)
    lines += [note for note in compare.notes if 'repetitions of' in note]
    lines += compare.starting('quiet: ')
    for note in compare.notes:
        match = re.match(r'(\S+) is (/\S+)$', note)
        if match and not match.group(1).startswith('pheap'):
            lines.append(f'{match.group(1)}: {os.path.basename(match.group(2))}')
    return '```\n' + '\n'.join(lines) + '\n```'


def costs(compare, threads):
    systems = []
    cells = collections.OrderedDict()
    disturbed = compare.disturbed()
    for workload, size, n, system, ns, _, _ in compare.rows:
        if n != threads or workload.startswith('open_'):
            continue
        if system not in systems:
            systems.append(system)
        mark = '?' if (workload, size, n, system) in disturbed else ''
        cells.setdefault(f'{workload} {size}', {})[system] = short(ns) + mark
    rows = [[name] + [by_system.get(system, '') for system in systems]
            for name, by_system in cells.items()]
    return table(['ns per operation'] + systems, rows)


def fences(compare):
    cells = collections.OrderedDict()
    for workload, size, threads, system, _, n_fences, n_lines in compare.rows:
        if system in ('pheap', 'libpmemobj') and n_fences != 'n/a':
            cells.setdefault(f'{workload} {size}, {threads}', {})[system] = (n_fences, n_lines)
    rows = []
    for name, by_system in cells.items():
        if any(float(n) >= 0.02 for n, _ in by_system.values()):
            pair = [by_system.get(system, ('', '')) for system in ('pheap', 'libpmemobj')]
            rows.append([name] + [value for cell in pair for value in cell])
    return table(['workload, threads', 'pheap: fences', 'lines', 'libpmemobj: fences', 'lines'],
                 rows)


def memory(compare):
    lines = []
    for start in ('fragbench ', 'steady ', 'open_clean ', 'open_crash '):
        lines += [note for note in compare.starting(start) if ' pheap-process' not in note]
    return '```\n' + '\n'.join(lines) + '\n```'


def targets(compare):
    rows = []
    for note in compare.starting('target\t')[1:]:
        _, workload, threads, what, wanted, measured, verdict = note.split('\t')
        rows.append([workload, threads, what, wanted, measured, verdict])
    return table(['workload', 'threads', 'what', 'wanted', 'measured', 'verdict'], rows)


def instructions(path):
    with open(path, encoding='utf-8') as file:
        lines = [line.rstrip('\n').split('\t') for line in file if not line.startswith('#')]
    rows = [[what, least, mean, cycles] for _, least, mean, cycles, what in lines[1:]]
    return table(['operation', 'least', 'mean', 'cycles'], rows)


def profile(path):
    """Functions of more than two per cent, by what callgrind_annotate printed."""
    total = None
    parts = collections.Counter()
    with open(path, encoding='utf-8') as file:
        for line in file:
            match = re.match(r'\s*([\d,]+) \(\s*[\d.]+%\)\s+(.*)$', line)
            if not match:
                continue
            count = int(match.group(1).replace(',', ''))
            where = match.group(2)
            if where.startswith('PROGRAM TOTALS'):
                total = count
            elif total and (found := re.match(r'(\S+?):(\S+)(?: \[(.*)\])?$', where)):
                function = found.group(2).split('.')[0].split("'")[0]
                library = os.path.basename(found.group(3) or '')
                if function.startswith('0x') or library.startswith('libpmem'):
                    function = 'in libpmem'
                elif function.startswith('operation_'):
                    function = 'the loop that calls it'
                parts[function] += count
            elif total and where.startswith('---'):
                break
    if not total:
        sys.exit(f'{path}: is it what callgrind_annotate printed?')
    rows = [[f'`{name}`' if ' ' not in name else name, f'{100 * count / total:.0f} %']
            for name, count in parts.most_common() if count > 0.02 * total]
    return table(['function', 'of all instructions'], rows)


def volatile(path):
    with open(path, encoding='utf-8') as file:
        lines = [line.rstrip('\n').split('\t') for line in file]
    return table(lines[0], lines[1:])


def fill(text, name, content):
    pattern = rf'(<!-- begin {name} -->\n).*?(<!-- end {name} -->)'
    new, n = re.subn(pattern, lambda m: f'{m.group(1)}\n{content}\n\n{m.group(2)}', text,
                     flags=re.S)
    if n != 1:
        sys.exit(f'the document has {n} places for {name}')
    return new


def main():
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    document, compare = sys.argv[1], Compare(sys.argv[2])
    with open(document, encoding='utf-8') as file:
        text = file.read()
    for name, content in (('host', host(compare)), ('one', costs(compare, '1')),
                          ('two', costs(compare, '2')), ('fences', fences(compare)),
                          ('memory', memory(compare)), ('targets', targets(compare)),
                          ('instructions', instructions(sys.argv[3])),
                          ('profile', profile(sys.argv[4])),
                          ('volatile', volatile(sys.argv[5]))):
        text = fill(text, name, content)
    with open(document, 'w', encoding='utf-8') as file:
        file.write(text)


if __name__ == '__main__':
    main()
