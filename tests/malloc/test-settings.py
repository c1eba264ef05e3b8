#!/usr/bin/env python3
"""The environment of libpheapmalloc, pheapmalloc(7).

usage: test-settings.py LIBRARY MISUSE
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest

LIBRARY = None
MISUSE = None
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


class Debug(unittest.TestCase):
    """Each kind of misuse makes the right report, with the stacks that belong to it."""

    ALLOCATED = r'\n  allocated by thread \d+:\n    #0 .* allocating_function\+.*\n'
    FREED = r'(    #.*\n)+  freed by thread \d+:\n    #0 .* freeing_function\+.*\n'
    NOW = r'(    #.*\n)+  %s now by thread \d+:\n'

    def found(self, how, pattern, end=signal.SIGABRT, **settings):
        done = run({'PHEAPMALLOC_DEBUG': '1', **settings}, [MISUSE, how])
        self.assertEqual(done.returncode, -end, done.stderr)
        self.assertRegex(done.stderr, 'libpheapmalloc: ' + pattern)

    def test_correct(self):
        for how in ('nothing', 'correct'):
            done = run({'PHEAPMALLOC_DEBUG': '1'}, [MISUSE, how])
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, 'end\n', ''))

    def test_off(self):
        """Without the setting, none of it is looked for."""
        done = run({}, [MISUSE, 'overrun'])
        self.assertEqual((done.returncode, done.stderr), (0, ''))

    def test_double_free(self):
        self.found('double-free', 'double free: the object of 13 bytes at 0x[0-9a-f]+ is free '
                   'already' + self.ALLOCATED + self.FREED + self.NOW % 'given'
                   + '    #0 .* freeing_function')

    def test_overrun(self):
        text = 'overrun: byte 13 of an object of 13 bytes at .* has been set to 0x1'
        self.found('overrun', text + '.*' + self.ALLOCATED + self.FREED + self.NOW % 'found'
                   + '    #0 .* freeing_function')
        self.found('overrun-not-freed', text + '.*' + self.ALLOCATED + self.NOW % 'found')

    def test_use_after_free(self):
        text = ('use after free: byte 3 of an object of 13 bytes at .* has been set to 0x1.*'
                + self.ALLOCATED + self.FREED + self.NOW % 'found')
        self.found('use-after-free', text)
        self.found('use-after-free-found', text, PHEAPMALLOC_QUARANTINE='1M')

    def test_quarantine_bound(self):
        """Nobody waits: what is written to after it was freed is not noticed."""
        done = run({'PHEAPMALLOC_DEBUG': '1', 'PHEAPMALLOC_QUARANTINE': '0'},
                   [MISUSE, 'use-after-free'])
        self.assertEqual((done.returncode, done.stderr), (0, ''))

    def test_invalid_free(self):
        self.found('free-inside', 'invalid free: .* lies 4 bytes inside an object of 13 bytes at '
                   '.*, which is in use' + self.ALLOCATED + self.NOW % 'given')
        self.found('free-stack', 'invalid free: .* is no object of this heap\n  given now')

    def test_realloc(self):
        self.found('realloc-freed', 'realloc: the object of 13 bytes at .* is free already'
                   + self.ALLOCATED + self.FREED + self.NOW % 'given')

    def test_guards(self):
        self.found('overrun-large', 'invalid access: .* lies 2400 bytes behind the end of an '
                   'object of 100000 bytes at .*, which is in use' + self.ALLOCATED
                   + self.NOW % 'accessed', end=signal.SIGSEGV)
        self.found('use-after-free-large', 'invalid access: .* lies 5000 bytes inside an object '
                   'of 100000 bytes at .*, which is free' + self.ALLOCATED + self.FREED
                   + self.NOW % 'accessed', end=signal.SIGSEGV)

    def test_closed_standard_error(self):
        """Found at the end, when the program has closed its standard error."""
        code = ('import ctypes, os; p = ctypes.CDLL(None); p.malloc.restype = ctypes.c_void_p; '
                'm = p.malloc(13); ctypes.memset(m + 13, 1, 1); os.close(2)')
        done = run({'PHEAPMALLOC_DEBUG': '1'}, ['python3', '-S', '-c', code])
        self.assertEqual(done.returncode, -signal.SIGABRT)
        self.assertIn('overrun: byte 13', done.stderr)

    def test_settings(self):
        done = run({'PHEAPMALLOC_DEBUG': '2'}, ['ls', '/'])
        self.assertIn('PHEAPMALLOC_DEBUG=2 is not a number up to 1', done.stderr)
        done = run({'PHEAPMALLOC_DEBUG': '1', 'PHEAPMALLOC_STATS': '1'})
        self.assertIn('blocks in use', done.stderr)


if __name__ == '__main__':
    LIBRARY = os.path.abspath(sys.argv.pop(1))
    MISUSE = os.path.abspath(sys.argv.pop(1))
    unittest.main()
