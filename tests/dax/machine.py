#!/usr/bin/env python3
"""A virtual machine with persistent memory, from Debian's packages alone.

usage: machine.py FOLDER    fetch the kernel, if it is not in FOLDER

The kernel is fetched and unpacked, not installed. Everything else that the guest
needs is copied from this machine into an initial ramdisk: programs, the libraries
they are linked with, a shell. QEMU interprets (TCG), so that no rights and no
virtualization are needed.

The guest's memory is a file, shared: it is still there when QEMU has been killed.
That is the power cut. Stopped with SIGSTOP, QEMU has no store under way, so a copy of
the file made then is what a cut at that moment leaves.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

KERNEL_PACKAGE = 'linux-image-cloud-amd64'
MODULES = ('libnvdimm', 'nd_btt', 'nd_pmem', 'nd_e820', 'nfit')

MIB = 1 << 20
PORTS = ('0x3f8', '0x2f8', '0x3e8', '0x2e8')  # of the four serial lines; the first: console
LOW_END = 2048 * MIB  # on a q35 board the rest begins at 4 GiB, if it is
HIGH_FROM = 768 * MIB  # that much at least; else all of it is below
SYSTEM = 512 * MIB    # for the guest itself
SPACING = 128 * MIB   # of regions: sections of the kernel's memory map
REGION = 96 * MIB
PATIENCE = 800        # seconds until a guest passes for stuck, also on a busy machine


class Unavailable(Exception):
    """Something is missing here that the tests need: a reason to skip them."""


class Failure(Exception):
    """The test has failed."""


def address(n):
    """Where region n lies in the guest's physical memory."""
    at = offset(n)
    return at if at < LOW_END else at - LOW_END + (4 << 30)


def offset(n):
    """The same in the file."""
    return SYSTEM + n * SPACING


# ---- packages --------------------------------------------------------------------------


def memory_for(n):
    """Bytes of memory that have n regions."""
    size = offset(n)
    return size if size <= LOW_END else max(size, LOW_END + HIGH_FROM)


def find_program(*names):
    for name in names:
        for folder in os.environ.get('PATH', '').split(':') + ['/usr/sbin', '/sbin']:
            path = os.path.join(folder, name)
            if os.access(path, os.X_OK):
                return path
    raise Unavailable(f'{" or ".join(names)} is not installed')


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options).stdout


def find_kernel(folder):
    """(kernel, folder of its modules) below folder, or None."""
    try:
        for name in sorted(os.listdir(os.path.join(folder, 'boot'))):
            version = name.removeprefix('vmlinuz-')
            modules = os.path.join(folder, 'lib', 'modules', version)
            if version != name and os.path.isdir(modules):
                return os.path.join(folder, 'boot', name), modules
    except FileNotFoundError:
        pass
    return None


def fetch_kernel(folder):
    """Have Debian's kernel for virtual machines below folder: some 27 MB to fetch."""
    found = find_kernel(folder)
    if found:
        return found
    unpacked = folder + '.new'
    shutil.rmtree(unpacked, ignore_errors=True)
    try:
        os.makedirs(unpacked)
        depends = run('apt-cache', 'depends', KERNEL_PACKAGE)
        package = re.search(r'Depends: (linux-image-\S+)', depends).group(1)
        run('apt-get', '-qq', 'download', package, cwd=unpacked)
        archive = next(name for name in os.listdir(unpacked) if name.endswith('.deb'))
        run('dpkg', '-x', archive, '.', cwd=unpacked)
        os.unlink(os.path.join(unpacked, archive))
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(unpacked, folder)
    except (OSError, subprocess.CalledProcessError, AttributeError, StopIteration) as error:
        reason = (getattr(error, 'stderr', None) or str(error)).strip().splitlines()
        raise Unavailable(f'no kernel: {KERNEL_PACKAGE} cannot be fetched by apt-get: '
                          f'{reason[-1] if reason else error}') from error
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    return find_kernel(folder)


# ---- the initial ramdisk ---------------------------------------------------------------


class Archive:
    """A cpio archive, format "newc"."""

    def __init__(self):
        self.parts = []
        self.names = set()

    def add(self, name, mode, data=b''):
        if name in self.names:
            return
        self.names.add(name)
        fields = (len(self.names), mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = b'070701' + b''.join(b'%08x' % field for field in fields) + name.encode() + b'\0'
        for part in (head, data):
            self.parts.append(part + bytes(-len(part) % 4))

    def add_folder(self, name):
        self.add(name, 0o040755)

    def add_file(self, name, path):
        with open(path, 'rb') as file:
            self.add(name, 0o100755, file.read())

    def add_program(self, name, path):
        """And the libraries it needs, all of them in /lib."""
        self.add_file('bin/' + name, path)
        for library in re.findall(r'(/\S+) \(0x', run('ldd', path)):
            self.add_file('lib/' + os.path.basename(library), library)

    def bytes(self):
        self.add('TRAILER!!!', 0)
        return b''.join(self.parts)


def find_modules(folder):
    paths = {}
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith('.ko'):
                paths[name.removesuffix('.ko')] = os.path.join(place, name)
    missing = [name for name in MODULES if name not in paths]
    if missing:
        raise Unavailable(f'the kernel has no module {", ".join(missing)}')
    return {name: paths[name] for name in MODULES}


def make_ramdisk(modules, programs):
    """Everything but /job. programs: from the name in the guest to the path here."""
    archive = Archive()
    for name in ('bin', 'dev', 'lib', 'lib64', 'mnt', 'modules.d', 'proc', 'sys', 'tmp'):
        archive.add_folder(name)
    for name, path in programs.items():
        archive.add_program(name, path)
    busybox = find_program('busybox')
    archive.add_file('bin/busybox', busybox)
    for name in run(busybox, '--list').split():
        archive.add('bin/' + name, 0o120777, b'/bin/busybox')
    archive.add('lib64/ld-linux-x86-64.so.2', 0o120777, b'/lib/ld-linux-x86-64.so.2')
    for name, path in find_modules(modules).items():
        archive.add_file(f'modules.d/{name}.ko', path)
    archive.add('modules', 0o100644, ''.join(f'{name}.ko\n' for name in MODULES).encode())
    archive.add_file('init', os.path.join(os.path.dirname(__file__), 'init.sh'))
    return archive.bytes()


def make_job(commands):
    archive = Archive()
    archive.add('job', 0o100644, commands.encode())
    return archive.bytes()


# ---- the machine -----------------------------------------------------------------------


def copy_sparse(source, source_at, target, target_at, length):
    """Copy what is not a hole; holes of the target stay holes."""
    at, end = source_at, source_at + length
    while at < end:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
        except OSError:  # no data behind at
            return
        stop = min(os.lseek(source, at, os.SEEK_HOLE), end)
        while at < stop:
            data = os.pread(source, min(stop - at, MIB), at)
            os.pwrite(target, data, target_at + at - source_at)
            at += len(data)


class Memory:
    """A file that holds the guest's memory, or that of its NVDIMM."""

    def __init__(self, path, size):
        self.path = path
        self.size = size
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.truncate(self.fd, size)

    def grow(self, size):
        if size > self.size:
            os.truncate(self.fd, size)
            self.size = size

    def remove(self):
        os.close(self.fd)
        os.unlink(self.path)


class Machine:
    """Boots on creation. regions: how many DAX regions the memory has."""

    def __init__(self, folder, kernel, ramdisk, job, memory, regions=0, cpu='max', board='q35',
                 nvdimm=None):
        self.folder = folder
        self.process = None
        self.lines = [os.path.join(folder, f'serial{n}') for n in range(len(PORTS))]
        for line in self.lines:
            open(line, 'wb').close()
        initrd = os.path.join(folder, 'initrd')
        with open(initrd, 'wb') as file:
            file.write(ramdisk + make_job(job))
        # On a busy machine the guest may get no time while it waits for its timer to tick.
        append = 'console=ttyS0 quiet panic=-1 nokaslr mitigations=off no_timer_check'
        for n in range(regions):
            append += f' memmap={REGION // MIB}M!{address(n) // MIB}M'
        slots = ',slots=1,maxmem=8G' if nvdimm else ''
        self.command = [
            find_program('setpriv'), '--pdeathsig', 'KILL',
            find_program('qemu-system-x86_64'), '-machine', f'{board},memory-backend=ram',
            # One thread takes the processors in turn: with one each, a guest that gets
            # little time spends it waiting for a processor that does not run.
            '-accel', 'tcg,thread=single', '-smp', '2', '-cpu', cpu, '-m',
            f'{memory.size // MIB}M{slots}', '-object',
            f'memory-backend-file,id=ram,share=on,size={memory.size},mem-path={memory.path}',
            '-kernel', kernel, '-initrd', initrd, '-append', append, '-display', 'none',
            '-nodefaults', '-no-user-config', '-no-reboot']
        for line in self.lines:
            self.command += ['-serial', 'file:' + line]
        if nvdimm:
            self.command += [
                '-object', f'memory-backend-file,id=nv,share=on,size={nvdimm.size},'
                f'mem-path={nvdimm.path}', '-device', 'nvdimm,id=nvdimm,memdev=nv,unarmed=off']
        with open(os.path.join(folder, 'qemu.log'), 'wb') as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)

    def console(self):
        with open(self.lines[0], 'rb') as file:
            return file.read().decode(errors='replace').replace('\r', '')

    def said(self, word):
        """The rest of each line that begins with @word."""
        return re.findall(rf'^@{word}\b *(.*)\n', self.console(), flags=re.M)

    def acknowledged(self, line, thread):
        """The last number that a thread has acknowledged on a serial line, or None."""
        with open(self.lines[line], 'rb') as file:
            text = b'\n' + file.read()
        at = text.rfind(b'\n%d ' % thread, 0, text.rfind(b'\n'))
        return int(text[at:].split()[1]) if at >= 0 else None

    def fail(self, what):
        with open(os.path.join(self.folder, 'qemu.log'), encoding='utf-8') as log:
            tail = '\n'.join(self.console().splitlines()[-40:])
            raise Failure(f'{what}\n{log.read()}{tail}')

    def complain(self):
        if self.said('error'):
            self.fail(f'the guest could not do its work: {self.said("error")}')

    def wait_for(self, word, count=1, patience=PATIENCE):
        """Until that many lines begin with @word."""
        end = time.monotonic() + patience
        while len(self.said(word)) < count:
            self.complain()
            if self.process.poll() is not None:
                self.fail(f'the machine went down while waiting for "{word}"')
            if time.monotonic() > end:
                self.fail(f'no "{word}" from the guest in {patience} seconds')
            time.sleep(0.05)

    def pause(self):
        """Returns when all of its threads have stopped."""
        self.process.send_signal(signal.SIGSTOP)
        state = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if state.si_code != os.CLD_STOPPED:
            self.fail('the machine went down by itself')

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def cut(self):
        """Take the power away."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def run_out(self, patience=PATIENCE):
        """Until the guest has switched itself off."""
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.fail(f'the guest did not come to an end in {patience} seconds')
        self.complain()
        if not self.said('done'):
            self.fail('the guest went down early')


def main():
    try:
        fetch_kernel(sys.argv[1])
    except Unavailable as reason:
        sys.exit(f'{sys.argv[0]}: {reason}')


if __name__ == '__main__':
    main()
