#!/usr/bin/env python3
"""Power cuts on real DAX: the library on a kernel with persistent memory, under QEMU.

usage: run.py [OPTION...] GUEST PHEAP

GUEST is the dax-guest program, PHEAP the pheap tool. Exit: 0, 1, or 77 where QEMU,
a kernel or what else is needed cannot be had.

One boot works on a pool in memory that the kernel was told is persistent (memmap=);
beside it run two controls, which leave out what makes a DAX mapping durable. Shorter
boots work on an NVDIMM with other flush instructions, or none. Each has its power cut
while it works, after snapshots that are cuts too. The last boot looks at all that was
left, each in a region of its own, and sees what a bad block does.
"""

import argparse
import errno
import os
import random
import shutil
import signal
import sys
import tempfile
import time

import machine
from machine import MIB, PORTS, REGION, SYSTEM, Failure, Machine, Memory, Unavailable
from machine import memory_for, offset

SKIP = 77
THREADS = 2
DAX = 'dax=always'
CONTROL_PAUSE = 3000  # microseconds: the controls leave the time to the real one

# name, when the NVDIMM is durable, processor, its flush instruction
NVDIMMS = (
    ('eadr', 'cpu', 'max', None),
    ('no-clwb', 'mem-ctrl', 'max,-clwb', 'clflushopt'),
    ('no-clflushopt', 'mem-ctrl', 'max,-clwb,-clflushopt', 'clflush'),
)
FLUSHES = ('clwb', 'clflushopt', 'clflush')


def expect(condition, what):
    if not condition:
        raise Failure(what)


def pairs(text):
    """The KEY=VALUE words of a line."""
    return dict(word.split('=', 1) for word in text.split() if '=' in word)


class Stream:
    """A pool in the guest: what works on it, and what the last boot has to find."""

    def __init__(self, name, line, seed, options=DAX, mapping='sync', pause=0, must_hold=True):
        self.name = name
        self.line = line  # the serial line of its acknowledgements
        self.seed = seed
        self.options = options  # for mount
        self.mapping = mapping
        self.pause = pause
        self.must_hold = must_hold

    def force(self):
        return '' if DAX in self.options else 'GUEST_FORCE_PMEM=1 '

    def start(self, device):
        return (f'make_fs {device} {self.options}\n'
                f'{self.force()}dax-guest work /mnt/{device}/pool {self.seed} '
                f'{PORTS[self.line]} {self.mapping} {self.pause} &\n')

    def check_facts(self, text, auto_flush):
        """That the mapping is what this stream is about."""
        dax = int(DAX in self.options)
        want = {'is_pmem': dax, 'backend': 'pmem', 'durability': 1,
                'map_sync': dax and int(self.mapping == 'sync'), 'auto_flush': int(auto_flush)}
        expect(pairs(text) == {key: str(value) for key, value in want.items()},
               f'{self.name}: the mapping is {text}, not {want}')


class Image:
    """What a cut left of a stream, and what had been acknowledged by then."""

    def __init__(self, name, stream, acknowledged):
        self.name = name
        self.stream = stream
        self.acknowledged = acknowledged

    def verify(self, device):
        numbers = ' '.join(map(str, self.acknowledged))
        return (f'{self.stream.force()}verify {self.name} {device} {self.stream.options} '
                f'{self.stream.seed} {numbers}\n')


def check_steps(name, guest, flush):
    """The instructions executed are those of this processor, and as many as were counted."""
    steps = {text.split()[0]: pairs(text) for text in guest.said('steps')}
    expect(set(steps) == {'persist', 'publish', 'snapshot'}, f'{name}: {steps}')
    for probe, numbers in steps.items():
        counts = {key: int(value) for key, value in numbers.items()}
        where = f'{name}: {probe}: {numbers}'
        for instruction in FLUSHES:
            expect(counts[instruction] == (counts['counted_lines'] if instruction == flush else 0),
                   where)
        expect(bool(counts['counted_lines']) == (flush is not None and probe != 'publish'), where)
        expect(bool(counts['nt']) == bool(counts['counted_nt_lines']) == (probe != 'persist'),
               where)
        # libpmem takes no fence behind clflush, which is ordered by itself; and one
        # more behind non-temporal stores where it leaves out flushes.
        if flush in ('clwb', 'clflushopt'):
            expect(counts['sfence'] == counts['counted_fences'], where)
        elif flush is None:
            expect(counts['sfence'] >= counts['counted_fences'], where)


class Rig:
    def __init__(self, args, folder):
        self.args = args
        self.folder = folder
        self.random = random.Random(args.seed)
        self.kernel, modules = machine.fetch_kernel(args.kernel)
        self.ramdisk = machine.make_ramdisk(modules, {
            'dax-guest': args.guest,
            'pheap': args.pheap,
            'mkfs.ext4': machine.find_program('mkfs.ext4'),
            'ndctl': machine.find_program('ndctl'),
        })
        self.images = []
        self.verification = Memory(os.path.join(folder, 'verification'), SYSTEM)

    def boot(self, job, memory, **options):
        return Machine(self.folder, self.kernel, self.ramdisk, job, memory, **options)

    def keep(self, guest, name, stream, source, source_at):
        """Note an image, and copy it to where the last boot looks for it."""
        acknowledged = [guest.acknowledged(stream.line, n) for n in range(THREADS)]
        expect(None not in acknowledged, f'{name}: nothing was acknowledged')
        machine.copy_sparse(source.fd, source_at, self.verification.fd, offset(len(self.images)),
                            REGION)
        self.images.append(Image(name, stream, acknowledged))

    def interrupt(self, guest, streams, seconds, snapshots, keep):
        """Snapshots at random moments, and a cut. keep(name, stream) keeps an image."""
        guest.wait_for('working', len(streams))
        begin = time.monotonic()
        moments = sorted(self.random.uniform(0, seconds) for _ in range(snapshots))
        for n, moment in enumerate(moments + [seconds]):
            time.sleep(max(0, begin + moment - time.monotonic()))
            guest.complain()
            if n < snapshots:
                guest.pause()
            else:
                guest.cut()
            for stream in streams:
                # Of the controls, whose work is slow, the last two.
                if stream.must_hold or n >= snapshots - 1:
                    keep(f'{stream.name}-{n}', stream)
            if n < snapshots:
                guest.go_on()

    def work_in_memory(self):
        seeds = [self.random.randrange(1 << 32) for _ in range(3)]
        streams = [
            Stream('memmap', 1, seeds[0]),
            Stream('control-nosync', 2, seeds[1], f'{DAX},commit=300', 'nosync', CONTROL_PAUSE,
                   must_hold=False),
            Stream('control-nodax', 3, seeds[2], 'dax=never,commit=300', 'sync', CONTROL_PAUSE,
                   must_hold=False),
        ]
        memory = Memory(os.path.join(self.folder, 'memory'), memory_for(len(streams)))
        job = 'steps pmem0\n' + ''.join(s.start(f'pmem{n}') for n, s in enumerate(streams))
        guest = self.boot(job + 'wait\n', memory, regions=len(streams))
        try:
            self.interrupt(guest, streams, self.args.seconds, self.args.snapshots,
                           lambda name, stream: self.keep(guest, name, stream, memory,
                                                          offset(streams.index(stream))))
            check_steps('memmap', guest, 'clwb')
            facts = {path: text for path, text in
                     (line.split(' ', 1) for line in guest.said('facts'))}
            for n, stream in enumerate(streams):
                stream.check_facts(facts[f'/mnt/pmem{n}/pool'], auto_flush=False)
        finally:
            guest.cut()
            memory.remove()

    def work_on_nvdimm(self, name, persistence, cpu, flush):
        stream = Stream(name, 1, self.random.randrange(1 << 32))
        memory = Memory(os.path.join(self.folder, 'memory'), SYSTEM)
        nvdimm = Memory(os.path.join(self.folder, 'nvdimm'), REGION)
        job = 'make_namespace\nsteps pmem0\n' + stream.start('pmem0') + 'wait\n'
        guest = self.boot(job, memory, cpu=cpu, nvdimm=nvdimm,
                          board=f'q35,nvdimm=on,nvdimm-persistence={persistence}')
        try:
            self.interrupt(guest, [stream], self.args.seconds / 4, self.args.snapshots // 4,
                           lambda name, stream: self.keep(guest, name, stream, nvdimm, 0))
            check_steps(name, guest, flush)
            stream.check_facts(guest.said('facts')[0].split(' ', 1)[1], flush is None)
        finally:
            guest.cut()
            memory.remove()
            nvdimm.remove()

    def verify(self):
        """Look at all images, and make a bad block, in one boot."""
        regions = len(self.images) + 1
        job = ''.join(image.verify(f'pmem{n}') for n, image in enumerate(self.images))
        self.verification.grow(memory_for(regions))
        guest = self.boot(job + f'bad_block pmem{regions - 1}\n', self.verification,
                          regions=regions)
        try:
            guest.run_out()
            self.check_images(guest)
            self.check_bad_block(guest)
        finally:
            guest.cut()

    def check_images(self, guest):
        results = dict(line.split() for line in guest.said('verified'))
        details = guest.console()
        for image in self.images:
            result = results.get(image.name)
            acknowledged = f'{image.name}: {sum(image.acknowledged)} operations acknowledged'
            if image.stream.must_hold:
                expect(result == '0', f'{acknowledged}, and not all held:\n{details}')
            else:
                expect(result == '1', f'{acknowledged}: a control must lose them:\n{details}')
                expect(sum(image.acknowledged) > 0, f'{image.name}: nothing was at stake')
        held = [pairs(line) for line in guest.said('held')]
        for line in held:
            expect(line['is_pmem'] == '1', f'not verified on persistent memory: {line}')
        ends = {image.stream: sum(image.acknowledged) for image in self.images}
        done = sum(ends[stream] for stream in ends if stream.must_hold)
        print(f'{done} acknowledged operations in {1 + len(NVDIMMS)} boots, {len(held)} images: '
              f'all held, {sum(line["recovered"] == "1" for line in held)} by recovery; under way '
              'in a thread at a cut: '
              + ', '.join(f'{sum(int(line[key]) for line in held)} {key}'
                          for key in ('whole', 'absent', 'none')))
        for line in guest.said('lost'):
            print(f'control: {line}')

    def check_bad_block(self, guest):
        expect('"is_pmem":true' in guest.said('info')[0].replace(' ', ''),
               f'pheap info: {guest.said("info")}')
        bad = {key: int(value) for key, value in pairs(guest.said('bad')[0]).items()}
        refused = errno.EUCLEAN if self.args.bad_blocks else 0
        expect(bad['sigbus'] == 1 and bad['open'] == bad['readonly'] == bad['check'] == refused
               and bad['other'] == 0, f'bad block: {bad}\n{guest.console()}')
        if not self.args.bad_blocks:
            return
        offset_said = f'4096 bytes at offset {bad["offset"]} '
        for word, count in (('refused', 2), ('problem O1', 1)):
            said = guest.said(word)
            expect(len(said) == count and all(offset_said in line for line in said),
                   f'bad block: {said}')
        info, check = guest.said('tool')
        expect(info.startswith('info 3 ') and offset_said in info, f'pheap: {info}')
        expect(check.startswith('check 1 O1 ') and offset_said in check, f'pheap: {check}')
        print(f'bad block: {guest.said("refused")[0]}')


def make_folder():
    """In memory, where there is room for some images; the guests' memory is files there."""
    place = '/dev/shm'
    if not os.path.isdir(place) or shutil.disk_usage(place).free < 4096 * MIB:
        place = None
    return tempfile.mkdtemp(prefix='pheap-dax.', dir=place)


def parse():
    parser = argparse.ArgumentParser(description='Power cuts on real DAX, under QEMU.')
    parser.add_argument('--seconds', type=float, default=8, help='of work in memory before the '
                        'cut; a quarter of it on each NVDIMM')
    parser.add_argument('--snapshots', type=int, default=6)
    parser.add_argument('--seed', type=int, default=int(os.environ.get('PHEAP_SEED', '0'), 0) or
                        random.randrange(1 << 32))
    parser.add_argument('--bad-blocks', action='store_true', help='the library looks for them')
    parser.add_argument('--kernel', default='build-dax-kernel', help='the folder to have it in')
    parser.add_argument('guest')
    parser.add_argument('pheap')
    return parser.parse_args()


def main():
    args = parse()
    print(f'seed {args.seed}', flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = make_folder()
    try:
        rig = Rig(args, folder)
        rig.work_in_memory()
        for nvdimm in NVDIMMS:
            rig.work_on_nvdimm(*nvdimm)
        rig.verify()
    except Unavailable as reason:
        print(f'skipped: {reason}')
        return SKIP
    except Failure as failure:
        print(f'FAILED: {failure}')
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    times = os.times()
    print(f'{times.children_user + times.children_system:.0f} s of processor, '
          f'{times.elapsed - start.elapsed:.0f} s')
    return 0


start = os.times()
sys.exit(main())
