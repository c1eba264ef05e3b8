#!/usr/bin/env python3
"""What is written: the README's program, links, figures of the format, headers.

usage: test-docs.py SOURCE LIBRARY README_PROGRAM COMPILER
"""

import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = LIBRARY = PROGRAM = None
COMPILER = []
MASK = (1 << 64) - 1


def read(*path):
    with open(os.path.join(SOURCE, *path), encoding='utf-8') as file:
        return file.read()


def headers():
    names = glob.glob(os.path.join(SOURCE, 'include', '**', '*.h'), recursive=True)
    return sorted(os.path.relpath(name, os.path.join(SOURCE, 'include')) for name in names)


def without_comments(text):
    return re.sub(r'/\*.*?\*/', '', text, flags=re.S)


def declared():
    """The functions that the public headers declare with PHEAP_API."""
    names = set()
    for header in headers():
        text = without_comments(read('include', header))
        for declaration in re.findall(r'^PHEAP_API\s+([^;]*);', text, flags=re.M):
            names.add(re.search(r'(\w+)\s*\(', declaration).group(1))
    return names


def fold(a, b):
    product = a * b
    return (product & MASK) ^ (product >> 64)


def checksum(key, place, words):
    """docs/format.md, section "Checksum", read literally."""
    k0, k1 = 0x9e3779b97f4a7c15, 0xbb67ae8584caa73b
    k2, k3 = 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1
    seed = fold(key ^ k0, place ^ k1)
    turn = (seed >> 32 | seed << 32) & MASK
    acc = len(words) * k2
    for p, i in enumerate(range(0, len(words), 2), 1):
        x = words[i]
        y = words[i + 1] if i + 1 < len(words) else 0
        acc += fold(x ^ ((seed + p * k2) & MASK), y ^ ((turn + p * k3) & MASK))
    return fold((acc & MASK) ^ k1, seed | 1) or 1


class Readme(unittest.TestCase):
    def test_program_is_the_sample(self):
        programs = re.findall(r'^```c\n(.*?)^```', read('README.md'), flags=re.S | re.M)
        self.assertEqual(len(programs), 1)
        self.assertEqual(programs[0], read('examples', 'readme.c'))

    def test_program_runs(self):
        base = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
        with tempfile.TemporaryDirectory(prefix='pheap-test-', dir=base) as folder:
            outputs = [subprocess.run([PROGRAM, *args], cwd=folder, check=True, timeout=50,
                                      capture_output=True, text=True).stdout
                       for args in (['one'], ['two'], [], ['four'])]
        self.assertEqual(outputs, ['', 'one\n', 'one\ntwo\n', 'one\ntwo\nhello\n'])

    def test_length(self):
        self.assertLessEqual(len(read('README.md').splitlines()), 150)


class Links(unittest.TestCase):
    def documents(self):
        return (glob.glob(os.path.join(SOURCE, '*.md')) +
                glob.glob(os.path.join(SOURCE, 'docs', '**', '*.md'), recursive=True))

    @staticmethod
    def anchors(text):
        found = set()
        for title in re.findall(r'^#+ +(.*?)\s*$', text, flags=re.M):
            plain = re.sub(r'[^\w\- ]', '', title.lower())
            found.add(plain.replace(' ', '-'))
        return found

    def test_local_links(self):
        seen = 0
        for name in self.documents():
            with open(name, encoding='utf-8') as file:
                text = file.read()
            prose = re.sub(r'^```.*?^```', '', text, flags=re.S | re.M)
            for target in re.findall(r'\]\(([^)\s]+)\)', prose):
                if re.match(r'[a-z]+:', target):
                    continue
                path, _, anchor = target.partition('#')
                where = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
                with self.subTest(document=name, target=target):
                    self.assertTrue(os.path.exists(where))
                    if anchor and where.endswith('.md'):
                        with open(where, encoding='utf-8') as file:
                            self.assertIn(anchor, self.anchors(file.read()))
                seen += 1
        self.assertGreater(seen, 0)

    def test_paths_in_code(self):
        """A path of the tree that is named in the documents is there."""
        tree = r'`((?:lib|include|tests|tools|examples|docs)/[\w./-]+)`'
        for name in self.documents():
            with open(name, encoding='utf-8') as file:
                for path in re.findall(tree, file.read()):
                    with self.subTest(document=name, path=path):
                        self.assertTrue(glob.glob(os.path.join(SOURCE, path)) or
                                        glob.glob(os.path.join(SOURCE, path.rstrip('.') + '*')))

    def test_no_placeholders(self):
        for name in self.documents():
            with open(name, encoding='utf-8') as file:
                text = file.read()
            with self.subTest(document=name):
                self.assertEqual(re.findall(r'@[A-Z]+@|\bTODO\b|\bFIXME\b|\bTBD\b', text), [])


class Format(unittest.TestCase):
    def test_checksum_vectors(self):
        rows = re.findall(r'^\| (0x[0-9a-f]+|0) \| (0x[0-9a-f]+|0) \| (\d+) \| (0x[0-9a-f]{16}) \|$',
                          read('docs', 'format.md'), flags=re.M)
        self.assertGreater(len(rows), 3)
        for key, place, n, want in rows:
            with self.subTest(key=key, place=place, n=n):
                words = list(range(1, int(n) + 1))
                self.assertEqual(checksum(int(key, 0), int(place, 0), words), int(want, 0))

    def test_class_table(self):
        """The table of classes is that of the library."""
        section = read('docs', 'format.md').split('\n## Size classes\n')[1].split('\n## ')[0]
        block = re.search(r'^```\n(.*?)^```', section, flags=re.S | re.M).group(1)
        numbers = [int(n) for line in block.splitlines()[1:] for n in line.split()]
        rows = sorted(tuple(numbers[i:i + 4]) for i in range(0, len(numbers), 4))
        source = re.findall(r'\{(\d+), (\d+), (\d+)\}', read('lib', 'alloc', 'class.c'))
        want = [(i, int(size), int(objects), int(granules))
                for i, (size, granules, objects) in enumerate(source)]
        self.assertEqual(rows, want)

    def test_constants(self):
        """Offsets of the fixed area, and the magic number."""
        layout, document = read('lib', 'layout.h'), read('docs', 'format.md')
        for name in ('STATE', 'ROOTS', 'LANE_TABLE', 'ZONE_TABLE'):
            offset = re.search(rf'#define PM_{name} (\d+)u', layout).group(1)
            self.assertRegex(document, rf'(?m)^\| {offset} \|')
        for name in ('MAGIC', 'MAGIC_CREATING'):
            magic = re.search(rf'#define PM_{name} UINT64_C\((0x\w+)\)', layout).group(1)
            self.assertIn(magic, document)

    def test_invariants_named(self):
        """What the checker reports is what the document lists, both ways."""
        document = set(re.findall(r'^\| ([A-Z]\d) \|', read('docs', 'format.md'), flags=re.M))
        code = ''
        for name in glob.glob(os.path.join(SOURCE, 'lib', '**', '*.c'), recursive=True):
            with open(name, encoding='utf-8') as file:
                code += without_comments(file.read())
        self.assertEqual(set(re.findall(r'"([A-Z]\d)"', code)), document)


class Headers(unittest.TestCase):
    def compile(self, command, header):
        source = f'#include <{header}>\n#include <{header}>\nint main(void) {{ return 0; }}\n'
        done = subprocess.run([*command, '-Wall', '-Wextra', '-Werror', '-fsyntax-only', '-I',
                               os.path.join(SOURCE, 'include'), '-'],
                              input=source, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_alone_as_c11(self):
        for header in headers():
            with self.subTest(header=header):
                self.compile([*COMPILER, '-xc', '-std=c11', '-pedantic'], header)

    def test_alone_as_cxx17(self):
        compilers = [name for name in map(shutil.which, ('g++', 'clang++')) if name]
        if not compilers:
            self.skipTest('no C++ compiler')
        for compiler in compilers:
            for header in [*headers(), 'pheap.hpp']:
                with self.subTest(header=header, compiler=compiler):
                    self.compile([compiler, '-xc++', '-std=c++17', '-pedantic'], header)

    def test_umbrella(self):
        included = set(re.findall(r'#include <(pheap/\w+\.h)>', read('include', 'pheap.h')))
        self.assertEqual(included, set(headers()) - {'pheap.h'})

    def test_installed(self):
        build = read('meson.build')
        for header in headers():
            self.assertIn(f"'include/{header}'", build)

    def test_contract_is_there(self):
        """Each topic says what it costs, what may fail, and in which threads."""
        for header in headers():
            if header in ('pheap.h', 'pheap/base.h', 'pheap/check.h'):
                continue
            text = read('include', header).lower()
            with self.subTest(header=header):
                self.assertIn('fence', text)
                self.assertRegex(text, r'einval')
                self.assertRegex(text, r'thread')

    def test_every_function_is_described(self):
        for header in headers():
            text = read('include', header)
            for match in re.finditer(r'^PHEAP_API', text, flags=re.M):
                before = text[:match.start()].rstrip()
                # Directly below a comment, or in a group that begins with one.
                above = before.splitlines()[-1] if before else ''
                with self.subTest(header=header, line=text[:match.start()].count('\n') + 1):
                    self.assertTrue(above.endswith('*/') or above.endswith(';'), above)


class Manual(unittest.TestCase):
    """Pages of the manual: each header has one, each function is on it, each can be set."""

    def page(self, header):
        return subprocess.run([sys.executable, os.path.join(SOURCE, 'docs', 'man', 'page.py'),
                               os.path.join(SOURCE, 'include', header), 'name', '0'],
                              check=True, capture_output=True, text=True).stdout

    def test_every_function_has_a_page(self):
        build = read('docs', 'man', 'meson.build')
        found = set()
        for header in set(headers()) - {'pheap.h'}:
            self.assertIn(f"'{os.path.basename(header)[:-2]}':", build)
            name = re.search(r'^\.SH NAME\n(.*)', self.page(header), flags=re.M).group(1)
            found |= set(re.findall(r'pheap_\w+', name))
        self.assertEqual(declared() - found, set())

    def test_contract_is_on_it(self):
        text = self.page('pheap/alloc.h')
        for words in ('Give a reserved object back', 'Errors: EINVAL', 'takes no fence'):
            self.assertIn(words, text)

    def test_pages_can_be_set(self):
        if not shutil.which('groff'):
            self.skipTest('no groff')
        pages = [self.page(header) for header in headers() if header != 'pheap.h']
        pages += [read(os.path.relpath(name, SOURCE)) for name in
                  glob.glob(os.path.join(SOURCE, '*', '**', 'pheap.[0-9]'), recursive=True)
                  if '/build' not in name]
        self.assertGreater(len(pages), 12)
        for page in pages:
            done = subprocess.run(['groff', '-man', '-ww', '-Tutf8'], input=page, text=True,
                                  capture_output=True, check=True)
            self.assertEqual(done.stderr, '')


class Symbols(unittest.TestCase):
    def exported(self):
        lines = subprocess.run(['nm', '-D', '--defined-only', LIBRARY], check=True,
                               capture_output=True, text=True).stdout.splitlines()
        found = set()
        for line in lines:
            kind, name = line.split()[-2:]
            if kind != 'A':  # the version's own symbol
                found.add(name.split('@')[0])
        return found

    def test_exactly_the_declared_functions(self):
        self.assertGreater(len(declared()), 30)
        self.assertEqual(self.exported(), declared())

    def test_versioned(self):
        text = subprocess.run(['nm', '-D', '--defined-only', '--with-symbol-versions', LIBRARY],
                              check=True, capture_output=True, text=True).stdout
        for name in declared():
            self.assertRegex(text, rf'(?m)\b{name}@@PHEAP_\d+\.\d+$')


if __name__ == '__main__':
    SOURCE, LIBRARY, PROGRAM = map(os.path.abspath, sys.argv[1:4])
    COMPILER = [word for word in shlex.split(sys.argv[4]) if word]
    unittest.main(argv=sys.argv[:1], verbosity=2)
