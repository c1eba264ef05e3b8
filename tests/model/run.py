#!/usr/bin/env python3
"""Check the models in docs/model with spin: what is right must hold in every state, and
each variant, with one step or rule left out, must fail.

    run.py SOURCE [--long] [--update] [--model NAME] [--variant NAME] [--trail]

The search is exhaustive: no state is dropped or hashed away, and one that was cut off
(depth, memory) is a failure; only what is called sampled, in the long form, is searched by bit
state. The numbers of states are compared with the table in docs/model/README.md; --update
writes them there. --trail prints the steps to the error
of a variant (or of the model, without --variant).
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
# A sampled search: 2^33 bits, and half an hour at most.
BIT_STATE = ['-w33', '-Q30']


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
    def __init__(self, folder, model, sampled=False):
        self.model = model
        self.sampled = sampled
        self.source = os.path.join(folder, model + '.pml')
        self.work = tempfile.TemporaryDirectory()
        done = subprocess.run(['spin', '-a', self.source], cwd=self.work.name,
                              capture_output=True, text=True)
        if done.returncode or not os.path.exists(os.path.join(self.work.name, 'pan.c')):
            raise Failure(f'{model}: spin: {done.stdout}{done.stderr}')
        space = '-DBITSTATE' if sampled else '-DCOLLAPSE'
        done = subprocess.run(['cc', '-O1', '-w', '-DSAFETY', '-DNOFAIR', space,
                               f'-DMEMLIM={MEMORY_MB}', '-o', 'pan', 'pan.c'],
                              cwd=self.work.name, capture_output=True, text=True)
        if done.returncode:
            raise Failure(f'{model}: cc: {done.stderr}')

    def run(self, settings, number, *options):
        environment = dict(os.environ, VARIANT=str(number), **settings)
        return subprocess.run(['./pan', '-m4000000', *options], cwd=self.work.name,
                              env=environment, capture_output=True, text=True).stdout

    def check(self, settings, number):
        """(states, error or None); an error is what a broken protocol may lead to."""
        text = self.run(settings, number, *(BIT_STATE if self.sampled else ['-w22']))
        states = re.search(r'([\d.e+]+) states, stored', text)
        errors = re.search(r'errors: (\d+)', text)
        why = re.search(r'pan:\d+: (.*)', text)
        if not states or not errors:
            raise Failure(f'{self.model}: the search did not end:\n{text[-2000:]}')
        for bad in ('max search depth too small', 'out of memory', 'memory limit',
                    'hash compact', 'Bit statespace'):
            if bad in text and not self.sampled:
                raise Failure(f'{self.model}: not exhaustive: {bad}')
        if int(errors[1]) and 'versions<' in why[1]:
            raise Failure(f'{self.model}: VERSIONS is too small')
        return int(float(states[1])), why[1] if int(errors[1]) else None

    def trail(self, settings, number):
        self.run(settings, number, '-w22')
        return self.run(settings, number, '-r')


def kind_of(error):
    if 'invalid end state' in error:
        return 'deadlock'
    return 'refused' if '.prev<=' in error or '.ghost>>6' in error else 'wrong'


class Report:
    def __init__(self):
        self.right, self.broken, self.sampled, self.failed = [], [], [], 0

    def say(self, text):
        print(text, flush=True)

    def fail(self, text):
        self.failed += 1
        self.say('FAILED: ' + text)


def check_sampled(folder, model, report):
    verifier = Verifier(folder, model, sampled=True)
    for name, settings in MODELS[model]['sampled'].items():
        states, error = verifier.check(settings, 0)
        if error:
            report.fail(f'{model}, {name}: {error}')
        report.say(f'{model}, {name}: {states} states, by bit state')
        report.sampled.append((model, name, states))


def check_model(folder, model, args, report):
    verifier = Verifier(folder, model)
    spec = MODELS[model]
    scenarios = dict(spec['scenarios'], **(spec['long'] if args.long else {}))
    variants = variants_of(folder, model)
    for name, settings in scenarios.items():
        if args.variant:
            break
        states, error = verifier.check(settings, 0)
        if error:
            report.fail(f'{model}, {name}: {error}')
        report.say(f'{model}, {name}: {states} states')
        report.right.append((model, name, states, name in spec['scenarios']))
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
    lines = ['| model | scenario | states |', '|---|---|---:|']
    lines += [f'| {m} | {s} | {n:,} |' for m, s, n, s_short in report.right if s_short == short]
    return '\n'.join(lines)


def table_of_sampled(report):
    lines = ['| model | scenario | states |', '|---|---|---:|']
    lines += [f'| {m} | {s} | {n:,} |' for m, s, n in report.sampled]
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
            new = replace(new, 'sampled states', table_of_sampled(report))
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
                if args.long and not args.variant and 'sampled' in MODELS[model]:
                    check_sampled(folder, model, report)
            except Failure as failure:
                report.fail(str(failure))
    if not args.variant and not args.model and not report.failed:
        compare(folder, report, args)
    report.say(f'{len(report.right)} searches of {sum(right[2] for right in report.right):,} states, '
               f'{len(report.broken)} variants caught, {report.failed} failures')
    return 1 if report.failed else 0


if __name__ == '__main__':
    sys.exit(main())
