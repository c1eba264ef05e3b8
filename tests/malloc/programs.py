"""Real programs that allocate, each with work whose output is the same in every run.

A program is given a folder of its own, a scale (1: some tenths of a second) and an
environment, which may have LD_PRELOAD. run() gives its output and what it used:

    Result.output    bytes
    Result.seconds   user and system time of the process and those it waited for
    Result.peak      KiB of memory resident at most, of the largest of them
"""

import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections import namedtuple

Result = namedtuple('Result', 'output seconds peak')

BASE = {'PATH': os.environ['PATH'], 'LC_ALL': 'C', 'TZ': 'UTC', 'PYTHONHASHSEED': '0',
        'PERL_HASH_SEED': '0',
        'GIT_CONFIG_NOSYSTEM': '1', 'GIT_CONFIG_GLOBAL': '/dev/null'}


class Failed(Exception):
    """The program did not do what it was asked for."""


def command(args, folder, env, stdin=None):
    """Run to the end; what it writes to its two outputs is its output."""
    out = os.path.join(folder, 'output')
    with open(out, 'wb') as file:
        child = subprocess.Popen(args, cwd=folder, env={**BASE, 'HOME': folder, **env},
                                 stdout=file,
                                 stderr=subprocess.STDOUT,
                                 stdin=open(stdin, 'rb') if stdin else subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    with open(out, 'rb') as file:
        output = file.read()
    if child.returncode:
        raise Failed(f'{args[0]}: exit code {child.returncode}: {output[-500:]!r}')
    return Result(output, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


def together(results):
    """One after the other counts as one."""
    return Result(b'\n'.join(r.output for r in results), sum(r.seconds for r in results),
                  max(r.peak for r in results))


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, 'w', encoding='ascii') as file:
        file.write(text)
    return path


PYTHON = '''
import hashlib, json, re, sys
n = int(sys.argv[1]) * 12000
d = {}
for i in range(n):
    d['key%d' % i] = [i, str(i) * 3, {'a': i / 7, 'b': None}]
text = json.dumps(d)
back = json.loads(text)
assert back == d
words = re.findall(r'key\\d+', text)
words.sort(key=lambda w: hashlib.md5(w.encode()).digest())
parts = []
for i in range(0, len(text), 997):
    parts.append(text[i:i + 997][::-1])
print(len(text), len(words), words[:5], hashlib.sha256(''.join(parts).encode()).hexdigest())
'''


def python3(folder, scale, env):
    script = write(folder, 'work.py', PYTHON)
    return command(['python3', '-S', script, str(scale)], folder, env)


def python3_malloc(folder, scale, env):
    """The same, and each object is one of malloc."""
    return python3(folder, scale, {**env, 'PYTHONMALLOC': 'malloc'})


SQL = '''
PRAGMA cache_size = -200000;
CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, size INTEGER);
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {n})
    INSERT INTO t SELECT i, printf('name%%d', i * 7919 %% {n}), i * 31 %% 1009 FROM c;
CREATE INDEX by_name ON t(name);
CREATE INDEX by_size ON t(size, name);
SELECT size, count(*), min(name), group_concat(substr(name, -2), '') FROM t
    GROUP BY size ORDER BY size LIMIT 50;
UPDATE t SET name = name || 'x' WHERE id %% 3 = 0;
DELETE FROM t WHERE id %% 5 = 0;
SELECT count(*), sum(length(a.name)) FROM t a JOIN t b ON a.name = b.name || 'x';
SELECT * FROM t ORDER BY name DESC LIMIT 20;
'''


def sqlite3(folder, scale, env):
    script = write(folder, 'work.sql', SQL.format(n=scale * 30000).replace('%%', '%'))
    return command(['sqlite3', ':memory:'], folder, env, stdin=script)


def ask_redis(path, *words):
    """One command in the protocol of the server; the reply's first line."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.sendall(b'*%d\r\n' % len(words) +
                  b''.join(b'$%d\r\n%s\r\n' % (len(w), w) for w in words))
        return s.makefile('rb').readline().strip()


def peak_of(pid):
    with open(f'/proc/{pid}/status', encoding='ascii') as status:
        return next(int(line.split()[1]) for line in status if line.startswith('VmHWM'))


FILL = '''
for i = 1, tonumber(ARGV[1]) do
    redis.call('set', 'k' .. i, string.rep('v', i % 200))
    redis.call('rpush', 'l' .. i % 100, i)
    redis.call('hset', 'h' .. i % 100, 'f' .. i, i * 3)
    redis.call('zadd', 'z', i * 7919 % 10007, 'm' .. i)
    if i % 3 == 0 then redis.call('del', 'k' .. i - 1) end
end
return 'OK'
'''


def redis(folder, scale, env):
    """The server under redis-benchmark, whose requests are the same each time; what
    the server holds afterwards is the output."""
    path = os.path.join(folder, 'sock')
    log = open(os.path.join(folder, 'log'), 'wb')
    server = subprocess.Popen(
        ['redis-server', '--port', '0', '--unixsocket', path, '--save', '', '--appendonly', 'no',
         '--enable-debug-command', 'yes', '--dir', folder],
        # One program with two names. Debian's package of the other one starts a service.
        executable=shutil.which('redis-check-rdb'), cwd=folder, env={**BASE, **env}, stdout=log, stderr=log)
    try:
        for _ in range(1000):
            try:
                if ask_redis(path, b'PING') == b'+PONG':
                    break
            except (FileNotFoundError, ConnectionRefusedError):
                pass # it is not there yet, or does not listen yet
            time.sleep(0.02)
        subprocess.run(['redis-benchmark', '-s', path, '-n', str(scale * 4000), '-q', '-P', '16',
                        '-d', '100', '-t', 'set,get,incr,lpush,rpop,sadd,hset,zadd,mset'],
                       env=BASE, check=True, stdout=subprocess.DEVNULL)
        ask_redis(path, b'FLUSHALL')
        filled = ask_redis(path, b'EVAL', FILL.encode(), b'0', b'%d' % (scale * 10000))
        output = b' '.join([filled, ask_redis(path, b'DBSIZE'),
                            ask_redis(path, b'DEBUG', b'DIGEST')])
        peak = peak_of(server.pid)
    finally:
        server.send_signal(signal.SIGTERM)
        _, status, usage = os.wait4(server.pid, 0)
        server.returncode = os.waitstatus_to_exitcode(status)
        log.close()
    if server.returncode:
        raise Failed(f'redis-server: exit code {server.returncode}')
    return Result(output, usage.ru_utime + usage.ru_stime, peak)


def text_of(seed, lines):
    """Lines that look like a program's, the same for each seed."""
    rng = random.Random(seed)
    return ''.join('%svalue_%d = function_%d(%d, %d);\n' %
                   ('\t' * rng.randrange(4), rng.randrange(300), rng.randrange(90),
                    rng.randrange(10), rng.randrange(1000)) for _ in range(lines))


def git(folder, scale, env):
    """History of some files, packed, searched and compared."""
    dates = {'GIT_AUTHOR_DATE': '2000-01-01T00:00:00Z', 'GIT_COMMITTER_DATE': '2000-01-01T00:00:00Z',
             'GIT_AUTHOR_NAME': 'a', 'GIT_AUTHOR_EMAIL': 'a@a', 'GIT_COMMITTER_NAME': 'a',
             'GIT_COMMITTER_EMAIL': 'a@a'}
    env = {**env, **dates}
    start = ['git', '-c', 'pack.threads=2', '-c', 'gc.auto=0', '-c', 'init.defaultBranch=main']
    results = [command(start + ['init', '-q', '.'], folder, env)]
    for turn in range(4):
        for i in range(20 * scale):
            write(folder, f'file{i}', text_of(i, 400) + text_of((turn, i).__hash__(), 60))
        results.append(command(start + ['add', '.', ':!output'], folder, env))
        results.append(command(start + ['commit', '-q', '-m', f'turn {turn}'], folder, env))
    for args in (['rev-parse', 'HEAD'], ['repack', '-q', '-a', '-d', '-f', '--depth=20'],
                 ['fsck', '--no-progress'], ['log', '--stat'], ['diff', 'HEAD~3', 'HEAD'],
                 ['grep', '-c', 'value_1.*function_7'], ['blame', 'file3'],
                 ['archive', '--format=tar', 'HEAD']):
        results.append(command(start + args, folder, env))
    whole = together(results)
    return whole._replace(output=hashlib.sha256(whole.output).hexdigest().encode())


def large_source(functions):
    rng = random.Random(5)
    out = ['struct s { int a[8]; struct s *next; double d; };\n', 'extern int sink(int, void *);\n']
    for i in range(functions):
        out.append(f'int f{i}(int x, int y, struct s *p)\n{{\n\tint t = x * {rng.randrange(99)};\n')
        for _ in range(14):
            a, b, c = rng.randrange(8), rng.randrange(8), rng.randrange(1, 50)
            out.append(rng.choice((
                f'\tfor (int i = 0; i < y + {c}; i++)\n\t\tt += p->a[{a}] ^ (i * {c});\n',
                f'\tif (t % {c} == {b})\n\t\tp->a[{a}] += sink(t, p->next);\n',
                f'\tswitch (t & 7) {{\n\tcase {a}: t += {c}; break;\n\tdefault: t ^= p->a[{b}];\n\t}}\n',
                f'\tp->d = p->d * {c}.5 + t / {c};\n')))
        out.append(f'\treturn t{f" + f{i - 1}(t, x, p)" if i else ""};\n}}\n')
    return ''.join(out)


def gcc(folder, scale, env):
    source = write(folder, 'large.c', large_source(scale * 40))
    result = command(['gcc', '-O2', '-g', '-S', '-o', 'large.s', source], folder, env)
    with open(os.path.join(folder, 'large.s'), 'rb') as file:
        return result._replace(output=result.output + file.read())


PERL = r'''
my $n = 15000 * shift;
my (%h, @l);
for my $i (1 .. $n) { $h{"word" . ($i * 7919 % $n)} = [ $i, "x" x ($i % 60) ]; }
for my $k (sort keys %h) { push @l, join(":", $k, @{$h{$k}}); }
my $text = join("\n", @l);
my %count;
$count{$1}++ while $text =~ /word(\d\d)/g;
$text =~ s/(x+)/length($1)/ge;
my $sum = unpack("%32C*", $text);
print length($text), " $sum ", join(",", map { "$_=$count{$_}" } sort keys %count), "\n";
'''


def perl(folder, scale, env):
    return command(['perl', write(folder, 'work.pl', PERL), str(scale)], folder, env)


LUA = '''
local n, t, seen = 40000 * tonumber(arg[1]), {}, {}
for i = 1, n do t[i] = {i, tostring(i * 7919 % n), next = t[i - 1]} end
table.sort(t, function(a, b) return a[2] < b[2] end)
for i = 1, n do seen[t[i][2] .. '/' .. i % 13] = t[i].next or true end
local parts, sum = {}, 0
for i = 1, n, 3 do parts[#parts + 1] = t[i][2]:rep(3); sum = sum + #parts[#parts] end
local all = table.concat(parts, ',')
for word in all:gmatch('%d+') do sum = (sum * 31 + #word) % 1000003 end
local count = 0
for _ in pairs(seen) do count = count + 1 end
print(n, sum, #all, count)
'''


def lua(folder, scale, env):
    return command(['lua5.4', write(folder, 'work.lua', LUA), str(scale)], folder, env)


def sort(folder, scale, env):
    rng = random.Random(9)
    source = write(folder, 'lines', ''.join(
        '%x %d\n' % (rng.getrandbits(rng.randrange(8, 90)), i) for i in range(scale * 40000)))
    result = command(['sort', '--parallel=2', '-S', '200M', '-o', 'sorted', source], folder, env)
    with open(os.path.join(folder, 'sorted'), 'rb') as file:
        return result._replace(output=result.output + file.read())


# name: function, programs that it needs
PROGRAMS = {
    'python3': (python3, ['python3']),
    'python3-malloc': (python3_malloc, ['python3']),
    'sqlite3': (sqlite3, ['sqlite3']),
    'redis': (redis, ['redis-check-rdb', 'redis-benchmark']),
    'git': (git, ['git']),
    'gcc': (gcc, ['gcc']),
    'perl': (perl, ['perl']),
    'lua': (lua, ['lua5.4']),
    'sort': (sort, ['sort']),
}


def missing(name):
    """Programs that are not there."""
    return [needed for needed in PROGRAMS[name][1] if not shutil.which(needed)]


def run(name, folder, scale, env):
    """In a folder that is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    try:
        return PROGRAMS[name][0](folder, scale, env)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
