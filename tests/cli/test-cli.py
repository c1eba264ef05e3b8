#!/usr/bin/env python3
"""pheap(1): what its subcommands print, their JSON, their exit codes.

usage: test-cli.py PHEAP
"""

import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest

PHEAP = None
FINE, PROBLEMS, USAGE, POOL = 0, 1, 2, 3
UUID = re.compile(r'^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')


def folder():
    base = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix='pheap-test-', dir=base)


class Cli(unittest.TestCase):
    def setUp(self):
        self.folder = folder()
        self.addCleanup(self.folder.cleanup)
        self.pool = os.path.join(self.folder.name, 'some.pool')
        self.env = {k: v for k, v in os.environ.items() if k != 'PMEM_IS_PMEM_FORCE'}

    def run_it(self, want, *args, **env):
        done = subprocess.run([PHEAP, *args], capture_output=True, text=True, timeout=50,
                              env={**self.env, **env})
        self.assertEqual(done.returncode, want, f'{args}: {done.stdout}{done.stderr}')
        # What went wrong is said, on standard error only.
        self.assertEqual(want in (USAGE, POOL), bool(done.stderr), args)
        return done

    def create(self, *args):
        return self.run_it(FINE, 'create', *args, self.pool)

    def info(self):
        return json.loads(self.run_it(FINE, 'info', '--json', self.pool).stdout)

    def check(self, want=FINE):
        return json.loads(self.run_it(want, 'check', '--json', self.pool).stdout)

    def patch(self, offset, data):
        with open(self.pool, 'r+b') as pool:
            pool.seek(offset)
            pool.write(data)

    def content(self):
        with open(self.pool, 'rb') as pool:
            return pool.read()

    def test_traced(self):
        self.create('--traced')
        self.assertEqual(self.info()['contract'], 'traced')
        self.assertEqual(self.check()['objects'], 0)
        os.unlink(self.pool)
        self.create()
        self.assertEqual(self.info()['contract'], 'linked')

    def test_gc_traced(self):
        self.create('--traced')
        done = json.loads(self.run_it(FINE, 'gc', '--json', '--dry-run', self.pool).stdout)
        self.assertEqual((done['objects'], done['garbage']), (0, 0))
        self.run_it(FINE, 'gc', self.pool)

    def test_compact(self):
        self.create()
        done = json.loads(self.run_it(FINE, 'compact', '--json', self.pool).stdout)
        self.assertEqual((done['moved'], done['pinned']), (0, 0))
        self.assertEqual(done['bytes_after'], done['bytes_before'])
        self.assertIn('0 objects moved', self.run_it(FINE, 'compact', self.pool).stdout)
        self.run_it(POOL, 'compact', self.pool + '.none')
        self.run_it(USAGE, 'compact')

    def test_types(self):
        self.create()
        done = json.loads(self.run_it(FINE, 'types', '--json', self.pool).stdout)
        self.assertEqual(done, [{'name': None, 'objects': 0, 'bytes': 0}])
        self.assertIn('none', self.run_it(FINE, 'types', self.pool).stdout)
        self.run_it(POOL, 'types', self.pool + '.none')
        self.run_it(USAGE, 'types')

    def test_create(self):
        done = self.create('--size', '16M', '--layout', 'fruit')
        self.assertIn(self.pool, done.stdout)
        info = self.info()
        self.assertEqual(info['size'], 16 << 20)
        self.assertEqual(os.stat(self.pool).st_size, 16 << 20)
        self.assertEqual(os.stat(self.pool).st_mode & 0o7777, 0o600)
        self.assertEqual(info['layout'], 'fruit')
        self.assertEqual(info['format'], 1)
        self.assertTrue(info['clean'])
        self.assertRegex(info['uuid'], UUID)

    def test_create_default(self):
        self.create()
        info = self.info()
        self.assertEqual(info['size'], 64 << 20)
        self.assertEqual(info['layout'], '')

    def test_sizes(self):
        for text, size in (('8388608', 8 << 20), ('8200K', 8200 << 10), ('1G', 1 << 30),
                           ('8m', 8 << 20), ('1T', 1 << 40)):
            self.create('-s', text)
            self.assertEqual(self.info()['size'], size // 65536 * 65536)
            os.unlink(self.pool)
        for text in ('0', '-1', '', 'x', '8X', '8MM', '8 M', '99999999999999999999', '99999999T'):
            self.run_it(USAGE, 'create', '--size', text, self.pool)
            self.assertFalse(os.path.exists(self.pool))
        for text in ('1', '7M', '2T'):
            self.run_it(POOL, 'create', '--size', text, self.pool)
            self.assertFalse(os.path.exists(self.pool))

    def test_mode(self):
        os.umask(0o022)
        self.create('--mode', '640')
        self.assertEqual(os.stat(self.pool).st_mode & 0o7777, 0o640)
        for text in ('8', 'rw', '', '1000', '-1'):
            self.run_it(USAGE, 'create', '--mode', text, os.path.join(self.folder.name, 'other'))

    def test_durability(self):
        for text in ('process', 'default'):
            self.create('--durability', text)
            os.unlink(self.pool)
        self.create('--durability', 'power', '--force-pmem')
        self.run_it(USAGE, 'create', '--durability', 'forever', self.pool)
        os.unlink(self.pool)
        self.run_it(FINE, 'create', '--durability', 'power', self.pool, PMEM_IS_PMEM_FORCE='1')

    def test_create_spares_what_exists(self):
        self.create('--size', '8M')
        before = self.content()
        done = self.run_it(POOL, 'create', self.pool)
        self.assertIn(self.pool, done.stderr)
        self.assertEqual(self.content(), before)
        with open(self.pool, 'w') as file:
            file.write('precious')
        self.run_it(POOL, 'create', self.pool)
        self.assertEqual(self.content(), b'precious')
        with open(self.pool, 'w'):
            pass
        self.create('--size', '8M')

    def test_info_text(self):
        self.create('--size', '8M', '--layout', 'fruit')
        text = self.run_it(FINE, 'info', self.pool).stdout
        for part in (self.pool, 'fruit', '8388608', self.info()['uuid'], 'cleanly', 'fragmentation'):
            self.assertIn(part, text)

    def test_info_json(self):
        self.create('--size', '8M')
        before = self.content()
        info = self.info()
        self.assertEqual(info['pool'], self.pool)
        self.assertLess(info['data'], info['size'])
        self.assertEqual(info['data'] % 65536, 0)
        self.assertLessEqual(info['free'], info['data'])
        self.assertLessEqual(info['largest_fit'], info['free'])
        self.assertGreater(info['largest_fit'], 0)
        self.assertEqual(info['data'], sum(info[key] for key in (
            'free', 'logs', 'published', 'unused', 'tails', 'unknown')))
        self.assertEqual(info['objects'], 0)
        self.assertEqual(info['unknown'], 0)
        self.assertIsInstance(info['is_pmem'], bool)
        self.assertEqual(self.content(), before)

    def test_check_clean(self):
        self.create('--size', '8M')
        before = self.content()
        result = self.check()
        self.assertEqual(result['pool'], self.pool)
        self.assertIs(result['clean'], True)
        self.assertEqual(result['problems'], [])
        self.assertEqual(result['objects'], 0)
        self.assertEqual((result['free_granules'] + result['used_granules']) * 65536,
                         self.info()['data'])
        for key in ('object_bytes', 'slabs', 'large_objects', 'records', 'undo_entries'):
            self.assertEqual(result[key], 0, key)
        text = self.run_it(FINE, 'check', self.pool).stdout
        self.assertIn('clean', text)
        self.assertEqual(self.content(), before)

    def test_check_damaged(self):
        self.create('--size', '8M')
        # The unnamed root, docs/format.md: to nothing that is an object.
        self.patch(12288 + 56, struct.pack('<Q', 65536 + 8))
        before = self.content()
        result = self.check(PROBLEMS)
        self.assertIs(result['clean'], False)
        self.assertEqual([p['invariant'] for p in result['problems']], ['R5'])
        self.assertEqual(result['problems'][0]['offset'], 12288 + 56)
        self.assertTrue(result['problems'][0]['message'])
        text = self.run_it(PROBLEMS, 'check', self.pool).stdout
        self.assertIn('R5', text)
        self.assertIn('1 problem', text)
        self.assertEqual(self.content(), before)

    def test_check_superblocks(self):
        self.create('--size', '8M')
        for offset in (0, 4096):
            self.patch(offset, bytes(512))
        result = self.check(PROBLEMS)
        self.assertIs(result['clean'], False)
        self.assertTrue(result['problems'])
        self.run_it(POOL, 'info', self.pool)

    def test_check_truncated(self):
        self.create('--size', '8M')
        for length in (4 << 20, 5000, 100):
            os.truncate(self.pool, length)
            result = self.check(PROBLEMS)
            self.assertIs(result['clean'], False)
            self.assertTrue(result['problems'])
            self.assertNotIn('clean\n', self.run_it(PROBLEMS, 'check', self.pool).stdout)
            self.run_it(POOL, 'info', self.pool)

    def test_cannot_open(self):
        nothing = os.path.join(self.folder.name, 'nothing')
        for command in ('info', 'check'):
            done = self.run_it(POOL, command, nothing)
            self.assertIn(nothing, done.stderr)
            self.assertEqual(done.stdout, '')
        self.run_it(POOL, 'create', os.path.join(nothing, 'in-no-folder'))
        self.assertFalse(os.path.exists(nothing))

    def test_usage(self):
        self.run_it(USAGE)
        self.run_it(USAGE, 'frobnicate')
        self.run_it(USAGE, '--frobnicate')
        for command in ('create', 'info', 'check'):
            self.run_it(USAGE, command)
            self.run_it(USAGE, command, self.pool, self.pool)
            self.run_it(USAGE, command, '--frobnicate', self.pool)
        self.assertFalse(os.path.exists(self.pool))

    def test_help(self):
        text = self.run_it(FINE, '--help').stdout
        for command in ('create', 'info', 'check'):
            self.assertIn(command, text)
            usage = self.run_it(FINE, command, '--help').stdout
            self.assertIn(f'Usage: pheap {command}', usage)
            self.assertIn('Exit status', usage)
        self.assertRegex(self.run_it(FINE, '--version').stdout, r'^pheap \d+\.\d+')

    def test_full_output(self):
        self.create('--size', '8M')
        with open('/dev/full', 'w') as full:
            done = subprocess.run([PHEAP, 'info', self.pool], stdout=full,
                                  stderr=subprocess.PIPE, env=self.env)
        self.assertEqual(done.returncode, POOL)
        self.assertTrue(done.stderr)


if __name__ == '__main__':
    PHEAP = os.path.abspath(sys.argv[1])
    unittest.main(argv=sys.argv[:1], verbosity=2)
