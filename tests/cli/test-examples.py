#!/usr/bin/env python3
"""Sample programs that no other test runs: what they print, on real files.

usage: test-examples.py FOLDER_OF_PROGRAMS
"""

import os
import subprocess
import sys
import tempfile
import unittest

PROGRAMS = None


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


if __name__ == '__main__':
    PROGRAMS = os.path.abspath(sys.argv[1])
    unittest.main(argv=sys.argv[:1], verbosity=2)
