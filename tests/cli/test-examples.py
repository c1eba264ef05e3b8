#!/usr/bin/env python3
"""Sample programs that no other test runs: what they print, on real files.

usage: test-examples.py FOLDER_OF_PROGRAMS PHEAP
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest

PROGRAMS = TOOL = None


class Example(unittest.TestCase):
    def setUp(self):
        base = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
        scratch = tempfile.TemporaryDirectory(prefix='pheap-test-', dir=base)
        self.addCleanup(scratch.cleanup)
        self.folder = scratch.name

    def path(self, name, content=None):
        path = os.path.join(self.folder, name)
        if content is not None:
            with open(path, 'w', encoding='utf-8') as file:
                file.write(content)
        return path

    def run_it(self, program, *args, status=0):
        done = subprocess.run([os.path.join(PROGRAMS, program), *args], cwd=self.folder,
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout


class Requests(Example):
    def test_replies(self):
        first = self.path('first', 'sort pear apple fig\n\nwhat now\nsort\n')
        second = self.path('second', f'lines {first}\nlines nowhere\nsort b a\n')
        self.assertEqual(self.run_it('requests', first, second),
                         "apple fig pear\nwhat is 'what'?\n\n"
                         '4\nnowhere: No such file or directory\na b\n')

    def test_files_are_closed(self):
        """Thousands of requests that each open a file, with few descriptors."""
        target = self.path('target', 'x\n' * 1000)
        script = self.path('script', f'lines {target}\n' * 5000)
        done = subprocess.run(['sh', '-c', 'ulimit -n 20 && exec "$0" "$1"',
                               os.path.join(PROGRAMS, 'requests'), script],
                              capture_output=True, text=True, timeout=60, check=True)
        self.assertEqual(done.stdout, '1000\n' * 5000)

    def test_errors(self):
        self.run_it('requests', status=2)
        self.run_it('requests', 'nowhere', status=1)


class Graph(Example):
    """Rings that are forgotten: found and freed by the program, and by the tool."""

    def graph(self, *args, status=0):
        return self.run_it('graph', self.path('pool'), *args, status=status)

    def tool(self, *args, status=0):
        done = subprocess.run([TOOL, 'gc', *args, self.path('pool')], capture_output=True,
                              text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout if not status else done.stderr

    def test_collect(self):
        self.graph('grow', '1000')
        self.graph('grow', '500')
        self.graph('forget')
        self.assertEqual(self.graph('show'),
                         '1 rings of 1000 nodes; 1500 nodes are in the pool\n')
        # 500 nodes, an array for each fourth of them, and the ring.
        self.assertEqual(sorted(self.graph('collect').splitlines()),
                         ['1 of struct ring', '125 of struct chord', '500 of struct node',
                          '626 objects freed, 1254 are alive'])
        self.assertEqual(self.graph('show'),
                         '1 rings of 1000 nodes; 1000 nodes are in the pool\n')
        self.graph('collect')
        self.graph('forget', status=0)
        self.graph('forget', status=1)
        self.graph(status=2)

    def test_tool(self):
        self.graph('grow', '1000')
        self.graph('forget')
        with open(self.path('pool'), 'rb') as pool:
            before = pool.read()
        dry = json.loads(self.tool('--dry-run', '--json'))
        with open(self.path('pool'), 'rb') as pool:
            self.assertEqual(pool.read(), before)
        self.assertEqual((dry['garbage'], dry['freed'], dry['dangling']), (1251, 0, 0))
        self.assertEqual({(line['type'], line['objects']) for line in dry['by_type']},
                         {('struct node', 1000), ('struct chord', 250), ('struct ring', 1)})
        text = self.tool('--dry-run')
        self.assertRegex(text, r'1000 +24 +0x[0-9a-f]+  struct node')
        self.assertIn('1251 garbage', text)
        self.assertIn('1251 freed', self.tool('--threads=2'))
        self.assertIn('0 garbage', self.tool())
        self.assertEqual(self.graph('show'), '0 rings of 0 nodes; 0 nodes are in the pool\n')
        subprocess.run([TOOL, 'check', self.path('pool')], check=True, capture_output=True)
        self.tool('--threads=0', status=2)
        self.tool('--nonsense', status=2)

    def types(self, *args):
        done = subprocess.run([TOOL, 'types', *args, self.path('pool')], check=True,
                              capture_output=True, text=True, timeout=60)
        return done.stdout

    def test_types(self):
        self.graph('grow', '1000')
        with open(self.path('pool'), 'rb') as pool:
            before = pool.read()
        types = {entry['name']: entry for entry in json.loads(self.types('--json'))}
        self.assertEqual({name: entry['objects'] for name, entry in types.items()},
                         {'struct node': 1000, 'struct chord': 250, 'struct ring': 1, None: 0})
        self.assertEqual(types['struct node']['references'], [0, 8])
        self.assertEqual([name for name, entry in types.items() if entry.get('array')],
                         ['struct chord'])
        self.assertRegex(self.types(), r'\n +2 +24 +2 --- +1000 +.*  struct node version 1\n')
        with open(self.path('pool'), 'rb') as pool:
            self.assertEqual(pool.read(), before)

    def test_untyped(self):
        """What objects without a type, here the blocks of an arena, hold is not guessed."""
        lines = ''.join(f'key {i}\tvalue {i}\n' for i in range(20000))
        self.run_it('kvload', self.path('pool'), 'load', 'one', self.path('in', lines))
        self.assertIn('have no type', self.tool(status=3))
        self.assertIn(' 0 garbage', self.tool('--conservative'))
        self.assertEqual(self.run_it('kvload', self.path('pool'), 'count', 'one'), '20000\n')


class KvLoad(Example):
    """A batch is there as a whole or not at all, and goes as a whole."""

    LINES = [f'key {i * 7919 % 100003}\tvalue {i} {"x" * (i % 90)}' for i in range(30000)]

    def objects(self):
        """Published objects, by the checker, which must find nothing wrong."""
        done = subprocess.run([TOOL, 'check', self.path('pool')], check=True,
                              capture_output=True, text=True, timeout=60)
        return int(re.search(r'(\d+) objects', done.stdout).group(1))

    def kvload(self, *args, status=0):
        return self.run_it('kvload', self.path('pool'), *args, status=status)

    def test_load_find_drop(self):
        first = self.path('first', ''.join(line + '\n' for line in self.LINES))
        second = self.path('second', 'a\t1\nb\t\na\tlast')  # no newline at its end
        self.assertEqual(self.kvload('load', 'one', first), '30000 records\n')
        self.assertEqual(self.kvload('load', 'two', second), '3 records\n')
        self.assertEqual(sorted(self.kvload('dump', 'one').splitlines()), sorted(self.LINES))
        for line in self.LINES[::5000]:
            key, value = line.split('\t')
            self.assertEqual(self.kvload('get', 'one', key), value + '\n')
        self.assertEqual(self.kvload('get', 'two', 'a'), 'last\n')
        self.assertEqual(self.kvload('get', 'two', 'b'), '\n')
        self.kvload('get', 'two', 'c', status=1)
        self.kvload('get', 'three', 'a', status=1)
        self.kvload('load', 'two', first, status=1)  # it is there already
        self.assertEqual(self.kvload('count', 'two'), '3\n')
        self.kvload('drop', 'one')
        self.kvload('count', 'one', status=1)
        self.assertEqual(self.kvload('count', 'two'), '3\n')
        self.kvload('drop', 'two')
        self.assertEqual(self.objects(), 0)

    def test_a_bad_line_loads_nothing(self):
        bad = self.path('bad', 'a\t1\n' * 5000 + 'no tab\n')
        self.kvload('load', 'one', bad, status=1)
        self.kvload('load', 'one', self.path('nowhere'), status=1)
        self.assertEqual(self.objects(), 0)

    def test_killed_while_loading(self):
        for _ in range(3):
            loader = subprocess.Popen([os.path.join(PROGRAMS, 'kvload'), self.path('pool'), 'load',
                                       'one', '-'], stdin=subprocess.PIPE, text=True)
            # More than the pipe holds, so most of it has been read.
            loader.stdin.write(''.join(line + '\n' for line in self.LINES))
            loader.stdin.flush()
            loader.send_signal(signal.SIGKILL)
            self.assertEqual(loader.wait(), -signal.SIGKILL)
            loader.stdin.close()
            self.kvload('get', 'one', self.LINES[0].split('\t')[0], status=1)
            self.assertEqual(self.objects(), 0)
        whole = self.path('whole', ''.join(line + '\n' for line in self.LINES))
        self.kvload('load', 'one', whole)
        self.assertEqual(sorted(self.kvload('dump', 'one').splitlines()), sorted(self.LINES))


class Samples(Example):
    def setUp(self):
        super().setUp()
        if not os.path.exists(os.path.join(PROGRAMS, 'samples')):
            self.skipTest('no C++ compiler')

    def samples(self, *args, status=0):
        return self.run_it('samples', self.path('pool'), *args, status=status)

    def test_transactions(self):
        self.samples('print', status=1)
        self.samples('add', '3', '-1', '2')
        self.samples('add', '5', 'five', status=1)  # all or none
        self.samples('add', *(str(n) for n in range(200)))
        self.samples('sort')
        want = sorted([3, -1, 2, *range(200)])
        self.assertEqual(self.samples('print').split(),
                         [*map(str, want), 'total', str(sum(want))])
        self.assertEqual(self.samples('report').splitlines()[:4],
                         ['-1 x 1', '0 x 1', '1 x 1', '2 x 2'])
        self.samples('clear')
        self.samples('print', status=1)
        self.samples('add', '1')
        self.assertEqual(self.samples('print'), '1\ntotal 1\n')
        self.samples('what', status=1)


if __name__ == '__main__':
    PROGRAMS, TOOL = map(os.path.abspath, sys.argv[1:3])
    unittest.main(argv=sys.argv[:1], verbosity=2)
