#!/usr/bin/env python3
"""The environment of libpheapmalloc, pheapmalloc(7).

usage: test-settings.py LIBRARY
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest

LIBRARY = None
WORK = 'l = [str(i) * 20 for i in range(20000)]; print(len(l))'


def run(settings, args=None, **options):
    env = {'PATH': os.environ['PATH'], 'LD_PRELOAD': LIBRARY, **settings}
    return subprocess.run(args or ['python3', '-S', '-c', WORK], env=env, capture_output=True,
                          text=True, check=False, **options)


class Settings(unittest.TestCase):
    def test_nothing_said(self):
        done = run({})
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, '20000\n', ''))

    def test_statistics(self):
        done = run({'PHEAPMALLOC_STATS': '1'})
        self.assertEqual(done.stdout, '20000\n')
        lines = dict(reversed(line.split('  ', 1)) for line in done.stderr.split('\n')
                     if re.match(' *\\d', line) for line in [line.strip()])
        self.assertGreater(int(lines['bytes in slabs and large blocks']), 0)
        self.assertGreaterEqual(int(lines['bytes in slabs and large blocks']),
                                int(lines['bytes in blocks in use']))

    def test_statistics_after_close(self):
        """Coreutils close their standard error before they end."""
        self.assertIn('blocks in use', run({'PHEAPMALLOC_STATS': '1'}, ['ls', '/']).stderr)

    def test_statistics_in_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'stats')
            for turn in (1, 2):
                done = run({'PHEAPMALLOC_STATS': path})
                self.assertEqual(done.stderr, '')
                with open(path, encoding='ascii') as file:
                    self.assertEqual(file.read().count('at exit'), turn)
            done = run({'PHEAPMALLOC_STATS': path + '/none'})
            self.assertIn('PHEAPMALLOC_STATS', done.stderr)
            self.assertEqual(done.returncode, 0)

    def test_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            code = ('import re; text = open("/proc/self/maps").read(); '
                    'print(text.count("(deleted)"))')
            done = run({'PHEAPMALLOC_FOLDER': folder}, ['python3', '-S', '-c', code])
            self.assertEqual(done.stderr, '')
            self.assertGreaterEqual(int(done.stdout), 1)
            self.assertEqual(os.listdir(folder), [])

    def test_no_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            missing = os.path.join(folder, 'none')
            done = run({'PHEAPMALLOC_FOLDER': missing}, ['ls', '/'])
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f'PHEAPMALLOC_FOLDER: {missing}: no file can be made', done.stderr)

    def test_not_a_number(self):
        for text in ('x', '12x', '-1', '1KK', '99999999999999999999T'):
            done = run({'PHEAPMALLOC_PURGE_DELAY': text}, ['ls', '/'])
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(f'PHEAPMALLOC_PURGE_DELAY={text} is not a number', done.stderr)
        self.assertEqual(run({'PHEAPMALLOC_PURGE_DELAY': '1K'}).stdout, '20000\n')

    def test_limit(self):
        code = 'try:\n l = [bytearray(9000) for i in range(10000)]\nexcept MemoryError: print("no")'
        done = run({'PHEAPMALLOC_LIMIT': '20M'}, ['python3', '-S', '-c', code])
        self.assertEqual((done.stdout, done.stderr), ('no\n', ''))
        self.assertEqual(run({'PHEAPMALLOC_LIMIT': '1G'}, ['python3', '-S', '-c', code]).stdout, '')

    def test_huge_pages(self):
        done = run({'PHEAPMALLOC_HUGE_PAGES': '1'})
        if done.returncode: # the kernel has none
            self.assertIn('PHEAPMALLOC_HUGE_PAGES: the kernel has no', done.stderr)
        else:
            self.assertEqual(done.stdout, '20000\n')

    def test_little_address_space(self):
        done = run({}, ['sh', '-c', f"ulimit -v 8000000; exec python3 -S -c '{WORK}'"])
        self.assertEqual((done.stdout, done.stderr), ('20000\n', ''))


if __name__ == '__main__':
    LIBRARY = os.path.abspath(sys.argv.pop(1))
    unittest.main()
