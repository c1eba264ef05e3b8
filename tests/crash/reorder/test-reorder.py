"""
test-reorder.py - trace programs, replay what they stored, and look at the images.

	test-reorder.py FOLDER VALGRIND workloads|controls|long [SEED]

FOLDER holds the programs as built. Workloads: every operation, with every engine; all
images must be consistent. Controls: what is wrong on purpose must be noticed. Long: the
workloads, longer and with more images, from a seed that is printed.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ENGINES = ['NoReorderNoCheck', 'NoReorderDoCheck', 'ReorderFull', 'ReorderPartial',
           'ReorderAccumulative', 'ReorderReverseAccumulative', 'ReorderLines']
KINDS = ['publish', 'retire', 'replace', 'redo', 'undo', 'mixed']

folder, valgrind, mode = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3]
seed = int(sys.argv[4]) if len(sys.argv) > 4 else 1
if mode == 'long' and len(sys.argv) < 5:
    seed = int(time.time())
failures = []


def tool(name):
    return os.path.join(folder, name)


def say(text):
    print(text, flush=True)


def expect(condition, what):
    if not condition:
        failures.append(what)
        say('FAILED: ' + what)


def must(command, **more):
    """Run what is no test by itself."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          **more)
    if done.returncode:
        sys.exit(f'{" ".join(command)}: status {done.returncode}\n{done.stdout}')
    return done.stdout


def copy(source, target):
    must(['cp', '--sparse=always', source, target])


def trace(log, program, env=None):
    """Run a program under the tracer."""
    must([valgrind, '-q', '--tool=pheaptrace', '--sigill-diagnostics=no', '--log=' + log] +
         program, env=dict(os.environ, **(env or {})))


def replay(log, pool, checker, engine, cap, more=()):
    """Status, counts by their names, and the report."""
    report = log + '.report'
    done = subprocess.run(
        [tool('pheap-reorder'), '-l', log, '--pool', pool, '-r', engine, '--cap', str(cap),
         '--seed', str(seed), '-o', report] + checker + list(more),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    counts = {name: int(n) for n, name in
              re.findall(r'(\d+) (stores|flushes|fences|points|images|distinct|inconsistent)',
                         done.stdout)}
    text = done.stderr
    if os.path.exists(report):
        with open(report) as file:
            text += file.read()
    return done.returncode, counts, text


def library(function):
    return ['-c', 'lib', '-n', function, '-p', tool('libreorder-checks.so')]


HEAP = library('check_heap')
ORDER = library('check_order')


# ---- workloads ------------------------------------------------------------------------

def prepare(kind, length, pool, crash):
    """A pool before the traced run. With crash: only what was durable for certain when a
    program ended in the middle of a transaction, with nothing applied that was not."""
    if os.path.exists(pool):
        os.remove(pool)
    must([tool('pheap-workload'), 'prepare', kind, str(seed), str(length), pool])
    if not crash:
        must([tool('pheap-workload'), 'warm', pool])
        return
    copy(pool, pool + '.empty')
    trace('warm.log', [tool('pheap-workload'), 'crash', pool])
    must([tool('pheap-reorder'), '-l', 'warm.log', '--pool', pool + '.empty',
          '--durable', pool])
    os.remove(pool + '.empty')
    found = must([tool('pheap-check-image'), 'logs', pool]).strip()
    expect(all(int(n) for n in re.findall(r'\d+', found)), 'nothing to recover: ' + found)
    say(f'{kind}: {found}')


def traced_run(kind, length, crash=False, env=None):
    prepare(kind, length, 'pool', crash)
    copy('pool', 'before')
    trace('log', [tool('pheap-workload'), 'run', 'pool'], env)


def run_workload(kind, length, caps, crash=False):
    name = f'{kind}, recovered' if crash else kind
    traced_run(kind, length, crash)
    total = 0
    for engine in ENGINES:
        status, counts, report = replay('log', 'before', HEAP, engine,
                                        caps[engine == 'ReorderLines'])
        total += counts.get('distinct', 0)
        expect(status == 0, f'{name}, {engine}: status {status}\n{report[:4000]}')
        expect(engine == 'NoReorderNoCheck' or counts.get('distinct', 0) > length,
               f'{name}, {engine}: hardly any image')
    say(f'{name}: {counts["stores"]} stores, {counts["flushes"]} flushes, '
        f'{counts["fences"]} fences; {total} images checked')
    return total


def run_program():
    """A checker that is a program, and engines by section."""
    traced_run('mixed', 8)
    checker = ['-p', tool('pheap-check-image') + ' heap']
    status, counts, report = replay('log', 'before', checker, 'NoReorderDoCheck', 8,
                                    ['-x', 'publish=ReorderFull,mixed=ReorderLines'])
    expect(status == 0, f'program as checker: status {status}\n{report[:4000]}')
    expect(counts['images'] > counts['points'], 'no other engine inside sections')
    status, counts, _ = replay('log', 'before', checker, 'NoReorderNoCheck', 8,
                               ['-x', 'open=NoReorderDoCheck'])
    expect(status == 0 and 0 < counts['images'] < counts['points'], 'engine for one section')


def workloads(length, caps):
    start, total = time.time(), 0
    for kind in KINDS:
        total += run_workload(kind, length, caps)
    for kind in ('publish', 'redo', 'mixed'):
        total += run_workload(kind, length, caps, crash=True)
    say(f'{total} distinct images checked in {time.time() - start:.0f} s')


# ---- controls -------------------------------------------------------------------------

# Which engines notice that a rule can be broken. The words behind the names say why.
ALL = set(ENGINES) - {'NoReorderNoCheck'}
NOTICED = {
    'right': set(),
    'late': ALL,
    # flushed stores in another order than they were made
    'together': {'ReorderFull', 'ReorderPartial', 'ReorderReverseAccumulative', 'ReorderLines'},
    # a store that was not flushed: pmreorder has no engine for it
    'evicted': {'ReorderLines'},
    # a false alarm of engines that do not know lines
    'line': {'ReorderFull', 'ReorderPartial', 'ReorderReverseAccumulative'},
}


def run_orders():
    must([tool('pheap-order'), 'prepare', 'order'])
    for variant, engines in NOTICED.items():
        copy('order', 'pool')
        trace('log', [tool('pheap-order'), 'run', variant, 'pool'])
        for engine in ENGINES:
            if engine == 'ReorderPartial' and engine in engines:
                continue  # three sets at random may miss it
            status, _, report = replay('log', 'order', ORDER, engine, 256)
            expect(status == (engine in engines),
                   f'{variant}, {engine}: status {status}\n{report[:2000]}')


def run_kept():
    """An inconsistent image that was kept is one."""
    os.mkdir('kept')
    copy('order', 'pool')
    trace('log', [tool('pheap-order'), 'run', 'late', 'pool'])
    status, counts, _ = replay('log', 'order', ORDER, 'ReorderLines', 256,
                               ['--keep', 'kept', '--stop', '3'])
    kept = os.listdir('kept')
    expect(status == 1 and counts['inconsistent'] == len(kept) == 3, 'images kept')
    for name in kept:
        checked = subprocess.run([tool('pheap-check-image'), 'order', 'kept/' + name])
        expect(checked.returncode == 1, f'{name}, kept, is consistent')


def run_omissions():
    """The library's own calls left out, one in so many."""
    for what in ('fence:1', 'fence:5', 'flush:1', 'flush:4', 'copy:1', 'copy:5'):
        for crash in (False, True):
            traced_run('mixed', 40, crash,
                       {'LD_PRELOAD': tool('libreorder-omit.so'), 'PHEAP_OMIT': what})
            status, counts, _ = replay('log', 'before', HEAP, 'ReorderLines', 60,
                                       ['--stop', '1'])
            expect(status == 1 and counts['inconsistent'] == 1,
                   f'{what} left out{", recovery" if crash else ""}: not noticed')


DAMAGE = {
    'no STOP': lambda log: log.replace('|STOP', ''),
    'cut off': lambda log: log[:len(log) // 2],
    'no REGISTER_FILE': lambda log: re.sub(r'\|REGISTER_FILE[^|]*', '', log),
    'no store': lambda log: re.sub(r'\|STORE[^|]*', '', log),
    'no START': lambda log: log.replace('START', ''),
    'empty': lambda log: '',
    'store outside': lambda log: log.replace('|STOP', '|STORE;0x10;0x1;0x8|STOP'),
    'value too long': lambda log: re.sub(r'(STORE;\w+;0x)', r'\g<1>' + 200 * '1', log, count=1),
    'crossing sections': lambda log: log.replace('|STOP', '|a.BEGIN|b.BEGIN|a.END|b.END|STOP'),
    'unknown record': lambda log: log.replace('|STOP', '|STOER;0x1|STOP'),
}
SAID = {
    'no STOP': 'no STOP', 'cut off': 'no STOP', 'no REGISTER_FILE': 'in no registered file',
    'no store': 'no store', 'no START': 'no START', 'empty': 'no START',
    'store outside': 'in no registered file', 'value too long': 'no value',
    'crossing sections': 'does not end', 'unknown record': 'unknown',
}


def run_damaged():
    traced_run('publish', 4)
    with open('log') as file:
        log = file.read()
    for name, damage in DAMAGE.items():
        with open('damaged', 'w') as file:
            file.write(damage(log))
        status, counts, text = replay('damaged', 'before', HEAP, 'NoReorderDoCheck', 8)
        expect(status == 2 and not counts and SAID[name] in text,
               f'log damaged, {name}: status {status}, {text}')
    # Only the registration and nothing else: no store lies outside of it then.
    with open('damaged', 'w') as file:
        file.write('START|FENCE|STOP\n')
    status, _, text = replay('damaged', 'before', HEAP, 'NoReorderDoCheck', 8)
    expect(status == 2 and 'no REGISTER_FILE' in text, 'log without REGISTER_FILE and stores')
    # A traced program that is killed.
    prepare('publish', 100000, 'pool', False)
    running = subprocess.Popen([valgrind, '-q', '--tool=pheaptrace', '--sigill-diagnostics=no',
                                '--log=killed', tool('pheap-workload'), 'run', 'pool'])
    while not os.path.exists('killed') or os.path.getsize('killed') < 1 << 16:
        time.sleep(0.01)
    running.kill()
    running.wait()
    status, _, text = replay('killed', 'before', HEAP, 'NoReorderDoCheck', 8)
    expect(status == 2 and 'no STOP' in text, 'log of a program that was killed')


# ---- all of it ---------------------------------------------------------------------------

base = '/dev/shm' if os.access('/dev/shm', os.W_OK | os.X_OK) else None
scratch = tempfile.mkdtemp(prefix='pheap-reorder-', dir=base)
os.chdir(scratch)
try:
    say(f'seed {seed}')
    if mode == 'workloads':
        workloads(40, (12, 40))
        run_program()
    elif mode == 'long':
        workloads(200, (40, 100))
    elif mode == 'controls':
        run_orders()
        run_kept()
        run_omissions()
        run_damaged()
    else:
        sys.exit('unknown mode ' + mode)
finally:
    os.chdir('/')
    shutil.rmtree(scratch)
say(f'{len(failures)} failures')
sys.exit(bool(failures))
