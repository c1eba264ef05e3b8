#!/usr/bin/env python3
"""Check the models in docs/model with spin: what is right must hold in every state, and
each variant, with one step or rule left out, must fail.

    run.py SOURCE [--long] [--update] [--model NAME] [--variant NAME] [--trail]

The search is exhaustive: no state is dropped or hashed away, and one that was cut off
(depth, memory) is a failure. Each scenario is searched twice: with its last crash, behind which
nothing but recovery is looked at; and with one crash less, where the lanes go on to their end,
for locks that are waited for in a circle. The numbers of states are compared with the table
in docs/model/README.md; --update writes them there. --trail prints the steps to the error of a
variant (or of the model, without --variant).
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True  # the folder is part of the source

from scenarios import MODELS  # noqa: E402

SKIP = 77
MEMORY_MB = 3500


class Failure(Exception):
    pass


def variants_of(folder, model):
    """NAME -> (number, what is left out, file), from a model and its base."""
    found = {}
    for name in ('base.pml', model + '.pml'):
        with open(os.path.join(folder, name), encoding='utf-8') as file:
            for line in file:
                match = re.match(r'#define (\w+) (\d+)\t+/\* (.*) \*/$', line)
                if match:
                    found[match[1]] = (int(match[2]), match[3], name)
    numbers = [variant[0] for variant in found.values()]
    if len(set(numbers)) != len(numbers):
        raise Failure(f'{model}: two variants have the same number')
    return found


class Verifier:
    def __init__(self, folder, model):
        self.model = model
        self.source = os.path.join(folder, model + '.pml')
        self.work = tempfile.TemporaryDirectory()
        done = subprocess.run(['spin', '-a', self.source], cwd=self.work.name,
                              capture_output=True, text=True)
        if done.returncode or not os.path.exists(os.path.join(self.work.name, 'pan.c')):
            raise Failure(f'{model}: spin: {done.stdout}{done.stderr}')
        done = subprocess.run(['cc', '-O2', '-w', '-DSAFETY', '-DNOFAIR', '-DCOLLAPSE',
                               f'-DMEMLIM={MEMORY_MB}', '-o', 'pan', 'pan.c'],
                              cwd=self.work.name, capture_output=True, text=True)
        if done.returncode:
            raise Failure(f'{model}: cc: {done.stderr}')

    def run(self, settings, number, *options):
        environment = dict(os.environ, VARIANT=str(number), **settings)
        return subprocess.run(['./pan', '-m1000000', '-w23', *options], cwd=self.work.name,
                              env=environment, capture_output=True, text=True).stdout

    def check(self, settings, number):
        """(states, error or None); an error is what a broken protocol may lead to."""
        text = self.run(settings, number)
        states = re.search(r'([\d.e+]+) states, stored', text)
        errors = re.search(r'errors: (\d+)', text)
        why = re.search(r'pan:\d+: (.*)', text)
        if not states or not errors:
            raise Failure(f'{self.model}: the search did not end:\n{text[-2000:]}')
        for bad in ('max search depth too small', 'out of memory', 'memory limit',
                    'hash compact', 'Bit statespace'):
            if bad in text:
                raise Failure(f'{self.model}: not exhaustive: {bad}')
        if int(errors[1]) and 'versions<' in why[1]:
            raise Failure(f'{self.model}: VERSIONS is too small')
        return int(float(states[1])), why[1] if int(errors[1]) else None

    def check_circles(self, settings):
        """The same without the last crash, where the lanes go on to their end."""
        crashes = str(int(settings['CRASHES']) - 1)
        return self.check(dict(settings, CRASHES=crashes, GO_ON='1'), 0)

    def trail(self, settings, number):
        self.run(settings, number)
        return self.run(settings, number, '-r')


def kind_of(error):
    if 'invalid end state' in error:
        return 'deadlock'
    return 'refused' if '.prev<=' in error or '.ghost>>6' in error else 'wrong'


class Report:
    def __init__(self):
        self.right, self.broken, self.failed = [], [], 0

    def say(self, text):
        print(text, flush=True)

    def fail(self, text):
        self.failed += 1
        self.say('FAILED: ' + text)


def check_model(folder, model, args, report):
    verifier = Verifier(folder, model)
    spec = MODELS[model]
    scenarios = dict(spec['scenarios'], **(spec['long'] if args.long else {}))
    variants = variants_of(folder, model)
    for name, settings in scenarios.items():
        if args.variant:
            break
        states, error = verifier.check(settings, 0)
        going_on, circle = verifier.check_circles(settings)
        if error or circle:
            report.fail(f'{model}, {name}: {error or circle}')
        report.say(f'{model}, {name}: {states} states, and {going_on}')
        report.right.append((model, name, settings['CRASHES'], states, going_on,
                             name in spec['scenarios']))
    for name, scenario in spec['variants'].items():
        if args.variant and name != args.variant:
            continue
        number, text, _ = variants[name]
        states, error = verifier.check(spec['scenarios'][scenario], number)
        if not error:
            report.fail(f'{model}, {scenario}, {name}: nothing was found in {states} states')
            continue
        if kind_of(error) == 'deadlock':
            report.fail(f'{model}, {scenario}, {name}: {error}')
        report.say(f'{model}, {scenario}, {name}: {kind_of(error)}')
        report.broken.append((model, name, text, scenario, kind_of(error)))
    if args.trail:
        number = variants[args.variant][0] if args.variant else 0
        scenario = spec['variants'][args.variant] if args.variant else next(iter(scenarios))
        print(verifier.trail(spec['scenarios'][scenario], number))
    if not args.variant:
        must = {n for n in variants if variants[n][2] == model + '.pml' or model == 'rings'}
        missing = must - set(spec['variants'])
        if missing:
            report.fail(f'{model}: variants that nobody tries: {sorted(missing)}')


# ---- the tables in the document --------------------------------------------------------

def table_of_states(report, short):
    lines = ['| model | scenario | crashes | states | without the last crash |',
             '|---|---|---:|---:|---:|']
    lines += [f'| {m} | {s} | {c} | {n:,} | {on:,} |' for m, s, c, n, on, s_short in report.right
              if s_short == short]
    return '\n'.join(lines)


def table_of_variants(report):
    lines = ['| model | left out | caught in | by |', '|---|---|---|---|']
    lines += [f'| {m} | `{n}`: {t} | {s} | {k} |' for m, n, t, s, k in report.broken]
    return '\n'.join(lines)


def replace(text, name, table):
    begin, end = f'<!-- {name} -->\n', f'<!-- end of {name} -->'
    head, rest = text.split(begin)
    return head + begin + table + '\n' + end + rest.split(end)[1]


def compare(folder, report, args):
    path = os.path.join(folder, 'README.md')
    with open(path, encoding='utf-8') as file:
        text = file.read()
    new = replace(text, 'states', table_of_states(report, True))
    new = replace(new, 'variants', table_of_variants(report))
    if args.long:
        new = replace(new, 'states of the long form', table_of_states(report, False))
    if args.update:
        with open(path, 'w', encoding='utf-8') as file:
            file.write(new)
        return
    version = subprocess.run(['spin', '-V'], capture_output=True, text=True).stdout
    if version.split(' -- ')[0].strip() not in text:
        report.say(f'the tables are of another version of spin than this one: {version.strip()}')
    elif new != text:
        wrong = sorted(set(new.splitlines()) - set(text.splitlines()))
        report.fail(f'{path} says otherwise; run with --update:\n' + '\n'.join(wrong))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('source')
    parser.add_argument('--long', action='store_true')
    parser.add_argument('--update', action='store_true')
    parser.add_argument('--trail', action='store_true')
    parser.add_argument('--model')
    parser.add_argument('--variant')
    args = parser.parse_args()
    if not shutil.which('spin') or not shutil.which('cc'):
        print('skipped: needs spin (Debian package spin) and a C compiler as cc')
        return SKIP
    folder = os.path.abspath(os.path.join(args.source, 'docs', 'model'))
    report = Report()
    for model in MODELS:
        if args.model in (None, model):
            try:
                check_model(folder, model, args, report)
            except Failure as failure:
                report.fail(str(failure))
    if not args.variant and not args.model and not report.failed:
        compare(folder, report, args)
    states = sum(right[3] + right[4] for right in report.right)
    report.say(f'{2 * len(report.right)} searches of {states:,} states, '
               f'{len(report.broken)} variants caught, {report.failed} failures')
    return 1 if report.failed else 0


if __name__ == '__main__':
    sys.exit(main())
