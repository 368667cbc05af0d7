"""Ways out of a sandbox: small Python programs that end well if they got out.

Each knows all that there is to know outside (`World.facts`) as variables, and has `libc`.
"""

PRELUDE = """
import ctypes, json, os, resource, signal, socket, struct, subprocess, sys
globals().update(json.loads(sys.argv[1]))
libc = ctypes.CDLL(None, use_errno=True)
def got(value):
    if value < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
"""

# What any process of this user can do without walls, which a test proves first.
POSSIBLE = {
    "a file by its path": "assert open(secret).read() == token",
    "a file by dots": "assert open('../' * 20 + secret[1:]).read() == token",
    "a file by dots from where it is": "assert open(os.path.relpath(secret)).read() == token",
    "a file by a symbolic link": "os.symlink(secret, 'l1'); assert open('l1').read() == token",
    "a file by a link to its directory": (
        "os.symlink(folder, 'l2'); assert open('l2/secret').read() == token"
    ),
    "a file by a hard link": "os.link(secret, 'h1'); assert open('h1').read() == token",
    "a file by moving it here": "os.rename(folder + '/moved', 'm1')",
    "a file by /proc/self/root": "assert open('/proc/self/root' + secret).read() == token",
    "a file by another's /proc/…/cwd": "assert open(f'/proc/{pid}/cwd/secret').read() == token",
    "a file by another's /proc/…/root": (
        "assert open(f'/proc/{pid}/root{secret}').read() == token"
    ),
    "a file from a directory one has gone to": (
        "os.chdir(folder); assert open('secret').read() == token"
    ),
    "a file by a descriptor of its directory": (
        "d = os.open(folder, os.O_PATH); f = os.open('secret', os.O_RDONLY, dir_fd=d); "
        "assert os.read(f, 99).decode() == token"
    ),
    "the names in a directory": "assert 'secret' in os.listdir(folder)",
    "the names of sockets of the system": "assert os.listdir('/run')",
    "another conversation's file": "assert open(other + '/file').read() == token",
    "another conversation's file, changed": "open(other + '/file', 'a').write('mine')",
    "a new file": "open(folder + '/new', 'w').write('x')",
    "a new directory": "os.mkdir(folder + '/made')",
    "a new pipe": "os.mkfifo(folder + '/pipe')",
    "a new link": "os.symlink('/', folder + '/link')",
    "a file cut short": "os.truncate(folder + '/file', 0)",
    "a file removed": "os.unlink(folder + '/doomed')",
    "a file's mode": "os.chmod(folder + '/file', 0o666)",
    "a directory's mode": "os.chmod(folder, 0o777)",
    "a mode by a link": "os.symlink(folder + '/file', 'l3'); os.chmod('l3', 0o666)",
    "a mode by a directory's descriptor": (
        "os.chmod('file', 0o666, dir_fd=os.open(folder, os.O_PATH))"
    ),
    "a file's owner": "os.chown(folder + '/file', uid, -1)",
    "a program from outside": "subprocess.run([folder + '/program'], check=True)",
    "another's environment": "assert token in open(f'/proc/{pid}/environ').read()",
    "another's arguments": "assert open(f'/proc/{pid}/cmdline').read()",
    "another's memory": "open(f'/proc/{pid}/mem', 'rb', 0)",
    "another's memory by a call": (
        "b = ctypes.create_string_buffer(8); "
        "m = [l for l in open(f'/proc/{pid}/maps') if ' r' in l][0]; "
        "i = struct.pack('PN', ctypes.addressof(b), 8); "
        "r = struct.pack('PN', int(m.split('-')[0], 16), 8); "
        "got(libc.process_vm_readv(pid, i, 1, r, 1, 0))"
    ),
    "another traced": "got(libc.ptrace(0x4206, pid, None, None))",
    "another signalled": "os.kill(pid, signal.SIGCONT)",
    "another signalled by a descriptor": (
        "signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGCONT)"
    ),
    "another's limits": "resource.prlimit(pid, resource.RLIMIT_NOFILE, (99, 99))",
    "another's priority": "os.setpriority(os.PRIO_PROCESS, pid, 5)",
    "another's processors": "os.sched_setaffinity(pid, [min(os.sched_getaffinity(pid))])",
    "a TCP port": "socket.create_connection(('127.0.0.1', tcp))",
    "a TCP port by several ways": (
        "s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); s.connect(('127.0.0.1', tcp))"
    ),
    "a TCP port while sending": (
        "s = socket.socket(); s.sendto(b'x', 1 << 29, ('127.0.0.1', tcp)); s.getpeername()"
    ),
    "a TCP port while sending a message": (
        "s = socket.socket(); s.sendmsg([b'x'], [], 1 << 29, ('127.0.0.1', tcp)); s.getpeername()"
    ),
    "a TCP port to be reached at": (
        "s = socket.socket(); s.listen(); assert os.readlink('/proc/self/ns/net') == net"
    ),
    "a UDP port": (
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('127.0.0.1', udp)); "
        "s.send(b'x'); s.send(b'x')"  # the second hears that nobody was there for the first
    ),
    "a unix socket by its path": (
        "s = socket.socket(socket.AF_UNIX); s.connect(folder + '/socket')"
    ),
    "a unix socket without a path": (
        "s = socket.socket(socket.AF_UNIX); s.connect('\\0' + abstract)"
    ),
    "shared memory": "got(libc.shmget(shared, 4096, 0))",
    "a watch on a directory": (
        "got(libc.inotify_add_watch(libc.inotify_init(), folder.encode(), 256))"
    ),
    "a keyring": "got(libc.syscall(248, b'user', b'k', b'v', 1, -4))",
    "a user namespace": "got(libc.unshare(0x10000000))",
    "a user namespace at birth": (
        "p = libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)\nif p == 0: os._exit(0)\ngot(p)"
    ),
}

# What needs more than an ordinary user has, or is closed on some machines, and must stay so.
NEVER = {
    "the worker's own environment": "assert token in ' '.join(os.environ.values())",
    "the environment of whoever started it": (
        "assert token in open(f'/proc/{os.getppid()}/environ').read()"
    ),
    "a descriptor that was left open": (
        "assert [f for f in range(3, 256) if os.path.exists(f'/dev/fd/{f}') and os.fstat(f)]"
    ),
    "a descriptor that was left open, without /proc": (
        "for f in range(3, 256):\n"
        "  try: os.fstat(f); break\n"
        "  except OSError: pass\n"
        "else: raise SystemExit('none')"
    ),
    "root": "os.setuid(0)",
    "root's group": "os.setgid(0)",
    "a program with root's rights": (
        "assert b'uid=0' in subprocess.check_output(['su', '-c', 'id'])"
    ),
    "a program with its owner's rights": "open('p1', 'w'); os.chmod('p1', 0o4755)",
    "a program with its group's rights": "open('p2', 'w'); os.chmod('p2', 0o2755)",
    "a program with rights by its descriptor": "os.fchmod(open('p3', 'w').fileno(), 0o6755)",
    "a program with rights by a directory's descriptor": (
        "open('p4', 'w'); os.chmod('p4', 0o4755, dir_fd=os.open('.', os.O_PATH))"
    ),
    "a program with rights by a call of the new kind": (
        "open('p5', 'w'); got(libc.syscall(452, -100, b'p5', 0o4755, 0))"
    ),
    "a program that is made with rights": (
        "f = os.open('p6', os.O_CREAT | os.O_RDWR, 0o6755); os.write(f, b'#!'); "
        "assert os.fstat(f).st_mode & 0o6000"
    ),
    "a disk that is full at once": (
        "got(libc.fallocate(os.open('big', os.O_CREAT | os.O_RDWR), 0, 0, 4096))"
    ),
    "a mount": "got(libc.mount(b'none', b'.', b'tmpfs', 0, None))",
    "a mount over the system": "got(libc.mount(b'.', b'/usr', None, 4096, None))",
    "a mount of the new kind": "got(libc.syscall(430, b'tmpfs', 0))",
    "an unmount": "got(libc.umount2(b'/proc', 2))",
    "a root of its own": "os.chroot('.')",
    "another's namespace": "got(libc.setns(os.pidfd_open(os.getppid()), 0x20000))",
    "a device": "os.mknod('d', 0o20666, os.makedev(1, 1))",
    "the memory of the machine": "open('/dev/mem', 'rb')",
    "the disk": "open('/dev/vda', 'rb')",
    "the kernel's log": "open('/dev/kmsg').read(1)",
    "the kernel's settings": "open('/proc/sys/kernel/core_pattern', 'w').write('|/bin/false')",
    "passwords": "open('/etc/shadow').read()",
    "the operator's configuration": "os.listdir('/etc/trunkline')",
    "a program of the system": "open('/usr/bin/env', 'r+b')",
    "a new program of the system": "open('/usr/local/bin/ours', 'w')",
    "a new clock": "import time; time.clock_settime(time.CLOCK_REALTIME, 0)",
    "packets": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "raw packets": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    "a socket by another number of the call": "got(libc.syscall(0x40000029, 2, 2, 0))",
    "the ring of system calls": ("got(libc.syscall(425, 8, ctypes.create_string_buffer(120)))"),
    "the kernel's programs": "got(libc.syscall(321, 0, ctypes.create_string_buffer(128), 128))",
    "another's descriptor": "got(libc.syscall(438, os.pidfd_open(os.getppid()), 1, 0))",
    "the signal of a descriptor": (
        "import fcntl\n"
        "r, w = os.pipe()\n"
        "fcntl.fcntl(r, 10, signal.SIGKILL)\n"
        "fcntl.fcntl(r, fcntl.F_SETOWN, pid)\n"
        "fcntl.fcntl(r, fcntl.F_SETFL, fcntl.fcntl(r, fcntl.F_GETFL) | 0o20000)\n"
        "os.write(w, b'x')\n"
        "raise SystemExit('its outcome is the neighbour’s')"
    ),
    "all that may be signalled": (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.kill(-1, signal.SIGTERM)\n"
        "raise SystemExit('its outcome is the neighbour’s')"
    ),
    "more processes than allowed": (
        "resource.setrlimit(resource.RLIMIT_NPROC, (100_000, 100_000))"
    ),
    "bigger files than allowed": ("resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 50, 1 << 50))"),
    "privileges that are new": ("assert 'NoNewPrivs:\\t0' in open('/proc/self/status').read()"),
}
