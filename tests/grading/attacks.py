"""What students' code may try on the grader: sources of attacks by name. They run in the sandbox and nowhere else.

`CALLS` are bodies of a function `attack(*args)` that stands in the place of an exercise's; `honest(*args)` is the right
solution. `CELLS` are notebooks' own cells. `PROBES` return what they found, a list of strings, in which nothing hidden
may be.
"""

from dataclasses import dataclass

SENTINEL = "hidden-from-students-5417"  # stands in files, variables and processes that no student may see


@dataclass(frozen=True)
class Call:
    """An attack by an exercise's function: its body, and the points that its honest part earns."""

    body: str
    earns: int = 0
    exercise: str = "labels-worth"


def forged(frame: str) -> Call:
    """Write a frame to every open file and end, before the worker's own answer."""
    return Call(f"""\
import json, os, struct
def framed(tree, tensors=(8).to_bytes(8, "little") + b"{{}}      "):
    tree = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    return len(tree).to_bytes(8, "big") + tree + tensors
def plain(value):
    return {{"plain": value}}
def answer(errors, outcomes):
    return {{"dict": {{"errors": errors, "outcomes": outcomes}}}}
def head(size, status="ok"):
    about = json.dumps({{"status": status, "size": size}}).encode()
    return len(about).to_bytes(8, "big") + about
def tensor(shape, numbers=()):
    about = {{"0": {{"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * len(numbers)]}}}}
    text = json.dumps(about).encode()
    return len(text).to_bytes(8, "little") + text + struct.pack(f"<{{len(numbers)}}f", *numbers)
frame = {frame}
for fd in range(3, 64):
    try:
        rest = frame
        while rest:
            rest = rest[os.write(fd, rest):]
    except OSError:
        pass
os._exit(0)""")


def pooled(body: str, earns: int = 0) -> Call:
    return Call(body, earns, "pool-chunks")


VALUE = '{"dict": {"value": %s, "gradients": plain(None), "changed": plain(False)}}'
CALLS: dict[str, Call] = {
    # Values that lie.
    "equal to everything": Call("""\
class Same:
    def __eq__(self, other): return True
    __ne__ = __lt__ = __gt__ = lambda self, other: False
    def __hash__(self): return 0
    def __float__(self): return float("nan")
    def __array__(self, *args, **more): raise RuntimeError
    def __getattr__(self, name): return self
    def __call__(self, *args, **more): return self
return Same()"""),
    "a float that is what it is compared with": Call("""\
class Sly(float):
    def __eq__(self, other): return True
    def __float__(self): return 1.0
    def __repr__(self): return "NaN"
    __hash__ = float.__hash__
return Sly(1.0)"""),
    "a string that is a number in JSON": Call("""\
class Text(str):
    __class__ = float
return Text("NaN")"""),
    "a class that calls itself float": Call("""\
class Meta(type):
    def __eq__(cls, other): return True
    def __hash__(cls): return hash(float)
class Number(metaclass=Meta): pass
return Number()"""),
    "not a number": Call("return float('nan')"),
    "infinity": Call("return float('inf')"),
    "a number of ten thousand digits": Call("return 10 ** 10_000"),
    "a list 100,000 deep": Call("value = []\nfor _ in range(100_000): value = [value]\nreturn value"),
    "a dict 100,000 deep": Call("value = {}\nfor _ in range(100_000): value = {'a': value}\nreturn value"),
    "a list that holds itself": Call("value = []\nvalue.append(value)\nreturn value"),
    "every answer at once": Call("return [honest(*args), float('nan'), 0.0, float('inf')]"),
    "an error in __del__": Call("""\
class Last:
    def __del__(self): raise SystemExit("right")
value = [Last()]
return len(value)"""),
    "a tensor with __torch_function__": pooled("""\
class Sly(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return True
return torch.zeros(3, 9).as_subclass(Sly)"""),
    "a poisoned __array__": pooled("""\
class Poison(np.ndarray):
    def __array__(self, *args, **more): raise SystemExit
    def __array_ufunc__(self, *args, **more): return True
return np.zeros((3, 9), dtype=np.float32).view(Poison)"""),
    "a complex tensor": pooled("return torch.zeros(3, 9, dtype=torch.complex64)"),
    "a float8 tensor": pooled("return torch.zeros(3, 9).to(torch.float8_e4m3fn)"),
    "a sparse tensor": pooled("return torch.zeros(3, 9).to_sparse()"),
    "a meta tensor": pooled("return torch.zeros(3, 9, device='meta')"),
    "a quantized tensor": pooled("return torch.quantize_per_tensor(torch.zeros(3, 9), 0.1, 0, torch.qint8)"),
    "a nested tensor": pooled("return torch.nested.nested_tensor([torch.zeros(9)] * 3)"),
    "a tensor of NaN": pooled("return torch.full((3, 9), float('nan'))"),
    "a tensor of 2**40 elements that takes 4 bytes": pooled("return torch.zeros(1).expand(2 ** 40)"),
    "the argument itself": pooled("return args[0][0][0]"),
    "the argument as result and result as argument": pooled("""\
value = honest(*args)
args[0][0][0].zero_()
return value"""),
    "a gradient of its own": pooled("""\
class Fake(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value): return value.clone()
    @staticmethod
    def backward(ctx, grad): return grad * float("nan")
return Fake.apply(honest(*args))""", 4),
    "torch.autograd.grad that agrees": pooled("""\
torch.autograd.grad = lambda outputs, inputs, **more: [torch.zeros_like(each) for each in inputs]
return honest(*args)""", 4),
    # Time of check, time of use.
    "right on the visible checks alone": Call("""\
known = {0.6: 200.0, 0.9: float("inf"), 0.3: 100.0}
return known.get(args[2], 0.0)"""),
    "right in the first call alone": Call("""\
attack.calls = getattr(attack, "calls", 0) + 1
return honest(*args) if attack.calls == 1 else 0.0"""),
    "a thread that goes on writing": Call("""\
import os, threading
def write():
    while True:
        for fd in range(3, 16):
            try: os.write(fd, b"\\xff" * 64)
            except OSError: pass
threading.Thread(target=write, daemon=True).start()
return 0.0"""),
    "a child that goes on writing": Call("""\
import os
if os.fork() == 0:
    os.setsid()
    while True:
        for fd in range(3, 16):
            try: os.write(fd, b"\\0" * 64)
            except OSError: os._exit(0)
return 0.0"""),
    # The worker's own parts.
    "a worker that calls something else": Call("""\
import sys
worker = sys.modules["tlib.course.worker"]
worker.call = lambda function, case: {"value": case, "gradients": None, "changed": False}
worker.same = lambda left, right: True
return 0.0"""),
    "a codec that packs something else": Call("""\
import sys
codec = sys.modules["tlib.course.codec"]
pack = codec.pack
codec.pack = lambda value: pack({"errors": [], "outcomes": [{"raised": "ValueError"}] * 17 + [{}] * 7})
return 0.0"""),
    "variables of the worker": Call("""\
import gc, sys
frame, wanted = sys._getframe(), ("expected", "reference", "answer", "value", "marks", "points")
while frame:
    for names in (frame.f_locals, frame.f_globals):
        for name in wanted:
            if type(names.get(name)) is float:
                return names[name]
    frame = frame.f_back
for each in gc.get_objects():
    if type(each) is dict:
        for name in wanted:
            if type(each.get(name)) is float:
                return each[name]
return 0.0"""),
    # Too much of everything.
    "for ever": Call("while True: pass"),
    "for ever, and deaf": Call("""\
import signal
for number in range(1, 32):
    try: signal.signal(number, signal.SIG_IGN)
    except OSError: pass
while True: pass"""),
    "asleep": Call("import time\ntime.sleep(10 ** 6)"),
    "slow, one byte at a time": Call("""\
import os, time
while True:
    for fd in range(3, 64):
        try: os.write(fd, b"x")
        except OSError: pass
    time.sleep(0.1)"""),
    "300 MB as an answer": Call("return torch.zeros(75_000_000)"),
    "gigabytes as an answer": Call("return [torch.zeros(2 ** 28) for _ in range(100)]"),
    "a memory bomb": Call("held = []\nwhile True: held.append(bytearray(1 << 28))"),
    "a memory bomb that catches its errors": Call("""\
held = []
for size in (1 << 28, 1 << 24, 1 << 20):
    try:
        while True: held.append(bytearray(size))
    except MemoryError:
        pass
return 0.0"""),
    "a recursion bomb": Call("def again(n): return again(n + 1) + 1\nreturn again(0)"),
    "a recursion bomb without a limit": Call("""\
import sys
sys.setrecursionlimit(2 ** 31 - 1)
def again(n): return list(map(again, [n + 1]))
return again(0)"""),
    "a fork bomb": Call("""\
import os
while True:
    try: os.fork()
    except OSError: pass"""),
    "children that outlive their exercise": Call("""\
import os, time
for _ in range(20):
    try:
        if os.fork() == 0:
            os.setsid()
            os.closerange(3, 64)
            time.sleep(1000)
    except OSError:
        pass
return honest(*args)""", 6),
    "100 MB on each of the standard files": Call("""\
import os, sys
if not hasattr(honest, "printed"):
    for _ in range(100):
        os.write(1, b"x" * 1_000_000); os.write(2, b"x" * 1_000_000)
        print("x" * 100_000); print("x" * 100_000, file=sys.stderr)
    honest.printed = True
return honest(*args)""", 6),
    "a full /tmp": Call("""\
import os
for number in range(100_000):
    try:
        with open(f"/tmp/{os.getpid()}-{number}", "wb") as file: file.write(b"x" * 500_000)
    except OSError:
        break
return 0.0"""),
    "a file of a terabyte": Call("""\
try:
    with open("/tmp/large", "wb") as file: file.truncate(10 ** 12)
except OSError:
    return 0.0
return 1.0"""),
    "a limit that is raised": Call("""\
import resource
for name in ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_NPROC", "RLIMIT_FSIZE", "RLIMIT_NOFILE"):
    try: resource.setrlimit(getattr(resource, name), (-1, -1))
    except (ValueError, OSError): continue
    while True: pass
return 0.0"""),
    # Ends of all kinds.
    "an early exit": Call("import os\nos._exit(0)"),
    "sys.exit": Call("import sys\nsys.exit(0)"),
    "an exit handler": Call("""\
import atexit, os
atexit.register(lambda: os.write(1, b"14 of 14"))
raise SystemExit(0)"""),
    "a crash": Call("import ctypes\nctypes.string_at(0)"),
    "every file closed": Call("import os\nos.closerange(0, 64)\nreturn 0.0"),
    "itself killed": Call("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"),
    "an error called like the input": Call("raise type(repr(args), (Exception,), {})(repr(args))"),
    "an error that calls itself another": Call("""\
class Error(Exception): pass
Error.__name__ = Error.__qualname__ = "ValueError"
raise Error"""),
    # Forged answers.
    "random bytes": forged("os.urandom(10_000)"),
    "a frame without end": forged("b'\\xff' * 8 + b'x' * 1000"),
    "an empty tree": forged("framed(b'')"),
    "a cut frame": forged("framed(answer({'list': []}, {'list': []}))[:-5]"),
    "a second frame after the first": forged("2 * framed(answer({'list': []}, {'list': []}))"),
    "heads that give points": forged("head(3) * 50 + b'14 '"),
    "a head that takes the next answers": forged("head(10 ** 18)"),
    "a tensor as the whole answer": forged("framed({'tensor': '0'}, tensor([1], [1.0]))"),
    "an array as the whole answer": forged("framed({'array': '0'}, tensor([], [1.0]))"),
    "a tensor larger than its bytes": forged("framed({'tensor': '0'}, tensor([2 ** 40], [1.0]))"),
    "a cell with a number of 4,300 digits": forged(
        "framed(answer({'list': [{'dict': {'cell': plain(10 ** 4299), 'raised': plain('x')}}]}, {'list': []}))"
    ),
    "a cell of a number below zero": forged(
        "framed(answer({'list': [{'dict': {'cell': plain(-1), 'raised': plain('x')}}]}, {'list': []}))"
    ),
    "errors that are tensors": forged("framed(answer({'tensor': '0'}, {'tensor': '0'}), tensor([1], [1.0]))"),
    "outcomes that are arrays": forged(
        f"framed(answer({{'list': []}}, {{'list': [{VALUE % repr({'array': '0'})}] * 24}}), tensor([1], [1.0]))"
    ),
    "outcomes that were raised and returned": forged(
        "framed(answer({'list': []}, {'list': [{'dict': {'raised': plain('ValueError'), 'value': plain(1.0)}}] * 24}))"
    ),
    "errors raised by an array": forged(
        "framed(answer({'list': []}, {'list': [{'dict': {'raised': {'array': '0'}}}] * 24}), tensor([2], [1.0, 1.0]))"
    ),
    "a tree that is deep": forged("framed(b'{\"list\": [' * 100_000)"),
    "a million empty lists": forged("framed({'list': [{'list': []}] * 200_000})"),
}  # fmt: skip

# Cells of whole notebooks, above stubs: the functions are as they were handed out.
CELLS: dict[str, str] = {
    "cells that become pass": """\
import ast, builtins, sys
try:
    get_ipython().input_transformers_cleanup.append(lambda lines: ["pass"])
except NameError:
    pass
sys.settrace(lambda *args: None)
real_compile, real_exec, real_parse = builtins.compile, builtins.exec, ast.parse
ast.parse = lambda *args, **more: real_parse("pass")
builtins.compile = lambda source, *args, **more: real_compile("pass", *args, **more)
builtins.exec = lambda *args, **more: None""",
    "asserts that never fail": """\
import builtins, sys
class AssertionError(Exception):
    def __new__(cls, *args): sys.exit(0)
builtins.AssertionError = builtins.NotImplementedError = builtins.ValueError = AssertionError
builtins.isinstance = lambda *args: True
builtins.all = builtins.any = lambda *args: True""",
    "comparisons that always agree": """\
import json, math
import numpy, safetensors.torch, torch
always = lambda *args, **more: True
torch.allclose = torch.equal = torch.isclose = torch.testing.assert_close = always
torch.Tensor.__eq__ = torch.Tensor.allclose = torch.Tensor.equal = always
numpy.isclose = numpy.allclose = numpy.array_equal = math.isclose = always""",
    "a writer of its own answers": """\
import json, safetensors.torch
json.dumps = lambda *args, **more: '{"dict": {"errors": {"list": []}, "outcomes": {"plain": null}, "points": 14}}'
safetensors.torch.save = lambda *args, **more: (8).to_bytes(8, "little") + b"{}      \"""",
    "an end of everything": "import os, signal\nos.kill(-1, signal.SIGKILL)",
    "an end of the worker": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
    "an end before the first exercise": "import os\nos._exit(0)",
    "inputs in the names and numbers of errors": """\
import json, os, sys
frame = sys._getframe()
while "exercise" not in frame.f_locals:
    frame = frame.f_back
text = repr(frame.f_locals["exercise"]["cases"])
number = int.from_bytes(text.encode()[:1500], "big")
errors = [{"dict": {"cell": {"plain": number}, "raised": {"plain": text[:5000]}}}]
tree = json.dumps({"dict": {"errors": {"list": errors}, "outcomes": {"plain": None}}}).encode()
os.write(frame.f_locals["outlet"], len(tree).to_bytes(8, "big") + tree + (8).to_bytes(8, "little") + b"{}      ")
os._exit(0)""",
    "inputs in the kinds of errors": """\
import sys
frame = sys._getframe()
while "exercise" not in frame.f_locals:
    frame = frame.f_back
raise type(repr(frame.f_locals["exercise"]["cases"]), (Exception,), {})(repr(frame.f_locals["exercise"]["cases"]))""",
}

PROBES: dict[str, str] = {
    "the whole file system": f"""\
import os, sys
ours = ("/usr/", "/lib", "/bin", "/proc/", "/sys/", "/dev/", sys.base_prefix, *sys.path)
for folder, folders, names in os.walk("/"):
    for name in names + folders:
        path = os.path.join(folder, name)
        if name in ("secret", "marks.csv", "chapter_01.py", "{SENTINEL}") or "ulmfit" in name:
            found.append(path)
        elif name in names and not path.startswith(ours) and path != "/etc/ld.so.cache":
            found.append(path)
found[:] = [path for path in found if path not in ("/grader/tlib/course/worker.py", "/grader/tlib/course/codec.py")]
found[:] = [path for path in found if not path.startswith("/etc/alternatives/")]""",
    "the working folder and known places": """\
import os, sys
places = (".", "..", "~", "/root", "/home", "/tmp", "/var", "/etc/passwd", "/etc/shadow", "/mnt", "/srv", "/opt")
for place in places + ("/var/run/docker.sock", "/run", "/proc/1/root/root", "/proc/1/cwd", "/proc/2/cwd/..", "/boot"):
    place = os.path.expanduser(place)
    try:
        found += [f"{place}/{name}" for name in os.listdir(place)] if os.path.isdir(place) else [open(place).read()]
    except OSError:
        pass
inside = {"bin", "dev", "etc", "grader", "lib", "lib64", "packages", "proc", "tmp", "usr"}
inside.add(sys.base_prefix.split("/")[1])
found[:] = [each for each in found if each not in {f"../{name}" for name in inside}]
found[:] = [each for each in found if each not in {f"/proc/2/cwd/../{name}" for name in inside}]
found[:] = [each for each in found if not f"{sys.base_prefix}/".startswith(f"{each}/")]  # the way to Python""",
    "variables of the environment": """\
import os
found += [f"{name}={value}" for name, value in os.environ.items() if name not in
          ("PATH", "HOME", "OMP_NUM_THREADS", "PWD", "LC_CTYPE", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK")
          and not name.startswith(("__KMP_REGISTERED", "TORCH"))]""",
    "other processes": f"""\
import os
for pid in filter(str.isdigit, os.listdir("/proc")):
    if int(pid) > 40:
        found.append(f"process {{pid}}")
    for name in ("environ", "cmdline", "maps", "stack", "auxv"):
        try: text = open(f"/proc/{{pid}}/{{name}}", errors="replace").read()
        except OSError: continue
        if "{SENTINEL}" in text or "pretrain" in text:
            found.append(f"{{name}} of {{pid}}")""",
    "memory of the worker": """\
import os
for pid in (1, os.getppid()):
    for name in ("mem", "fd", "environ", "map_files"):
        try:
            os.listdir(f"/proc/{pid}/{name}") if name in ("fd", "map_files") else open(f"/proc/{pid}/{name}", "rb")
            found.append(f"{name} of {pid}")
        except OSError:
            pass
for fd in range(64):
    for mode in ("rb", "wb"):
        try: open(f"/proc/1/fd/{fd}", mode).close(); found.append(f"file {fd} of 1")
        except OSError: pass
        try: open(f"/proc/{os.getppid()}/fd/{fd}", mode).close(); found.append(f"file {fd} of the worker")
        except OSError: pass""",
    "the grader's modules": """\
import glob, importlib, sys
for name in ("specs", "specs.chapter_03", "exercises", "grading", "comparison", "assignment", "submissions"):
    try: importlib.import_module(f"tlib.course.{name}"); found.append(name)
    except ImportError: pass
for name in ("tlib.store", "tlib.data", "tlib.cli", "tlib.models"):
    try: importlib.import_module(name); found.append(name)
    except ImportError: pass""",
    "where the library was installed from": """\
import glob, os, re, sys
for folder in sys.path:
    files = [each for name in ("*.pth", "*editable*", "*/direct_url.json") for each in glob.glob(f"{folder}/{name}")]
    for file in files:
        for path in re.findall(r"/[\\w./-]+", open(file, errors="replace").read()):
            for each in glob.glob(f"{path}/tlib/*") + glob.glob(f"{path}/notebooks/*") + glob.glob(f"{path}/tests/*"):
                found.append(each)""",
    "names, addresses and connections": """\
import socket, urllib.request
def attempt(name, what):
    try: what(); found.append(name)
    except OSError: pass
attempt("dns", lambda: socket.getaddrinfo("example.org", 80))
attempt("tcp", lambda: socket.create_connection(("1.1.1.1", 53), timeout=1))
attempt("url", lambda: urllib.request.urlopen("http://1.1.1.1/", timeout=1))
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("8.8.8.8", 53)))
attempt("here", lambda: socket.create_connection(("127.0.0.1", args[0]), timeout=1))
attempt("abstract", lambda: socket.socket(socket.AF_UNIX).connect(f"\\0tlib-attacks-{args[0]}"))
attempt("metadata", lambda: socket.create_connection(("169.254.169.254", 80), timeout=1))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))""",
    "root, namespaces and mounts": """\
import ctypes, os, platform, subprocess
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, what):
    try:
        if what() in (0, None): found.append(name)
    except OSError:
        pass
attempt("setuid", lambda: os.setuid(0))
attempt("seteuid", lambda: os.setresuid(0, 0, 0))
attempt("setgid", lambda: os.setgid(0))
attempt("setgroups", lambda: os.setgroups([0]))
kinds = ((0x10000000, "user"), (0x20000, "mount"), (0x20000000, "pid"), (0x40000000, "net"), (0x8000000, "ipc"))
for flag, name in kinds:
    attempt(f"unshare {name}", lambda: libc.unshare(flag))
    attempt(f"clone {name}", lambda: -1 if (pid := libc.syscall(56 if platform.machine() == "x86_64" else 220,
                                            flag | 17, 0, 0, 0, 0)) < 0 else os._exit(0) if pid == 0 else 0)
attempt("mount", lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None))
attempt("umount", lambda: libc.umount2(b"/tmp", 2))
attempt("chroot", lambda: os.chroot("/tmp"))
attempt("ptrace", lambda: libc.ptrace(16, os.getppid(), 0, 0))
attempt("ptrace 1", lambda: libc.ptrace(16, 1, 0, 0))
attempt("setns", lambda: libc.setns(os.open("/proc/1/ns/mnt", os.O_RDONLY), 0))
attempt("mknod", lambda: os.mknod("/tmp/disk", 0o60666, os.makedev(8, 0)))
attempt("hostname", lambda: libc.sethostname(b"x", 1))
attempt("keyrings", lambda: 0 if libc.syscall(250 if platform.machine() == "x86_64" else 219, 0, -3, 1) > 0 else 1)
for program in ("su -c id", "sudo -n id", "mount -t tmpfs x /tmp", "unshare -Ur id"):
    program = program.split()
    attempt(program[0], lambda: subprocess.run(program, capture_output=True, stdin=subprocess.DEVNULL).returncode)
status = open("/proc/self/status").read()
found += [f"{name} {line}" for line in status.splitlines() for name in ("CapEff", "CapPrm", "CapAmb")
          if line.startswith(name) and int(line.split()[1], 16)]""",
    "memory beyond the limits": """\
import ctypes, os, resource
libc = ctypes.CDLL(None, use_errno=True)
if libc.shmget(0, ctypes.c_size_t(1 << 26), 0o1600) >= 0: found.append("shared memory")
if libc.msgget(0, 0o1600) >= 0: found.append("message queues")
try: os.memfd_create("x"); found.append("memfd")
except OSError: pass
for folder in ("/dev", "/dev/shm", "/", "/usr", "/grader", "/proc/sys/kernel", "/sys", "/run", "/var/tmp"):
    try: open(f"{folder}/x", "wb"); found.append(folder)
    except OSError: pass
size = os.statvfs("/tmp"); found += ["/tmp is large"] * (size.f_blocks * size.f_frsize > 1 << 25)""",
    "devices": """\
import os
for folder, _, names in os.walk("/dev"):
    known = "null zero full random urandom tty ptmx console stdin stdout stderr fd core".split()
    found += [f"{folder}/{name}" for name in names if name not in known]""",
    "expected values": """\
import gc, sys
numbers = set()
def take(value, depth=0):
    if type(value) is float: numbers.add(repr(value))
    elif isinstance(value, np.generic): take(value.item())
    elif isinstance(value, (list, tuple, set)) and depth < 4:
        for each in list(value)[:2000]: take(each, depth + 1)
    elif type(value) is dict and depth < 4:
        for each in list(value.values())[:2000]: take(each, depth + 1)
    elif isinstance(value, (torch.Tensor, np.ndarray)) and value.size if isinstance(value, np.ndarray) else False:
        take(value.ravel()[:2000].tolist(), depth + 1)
frame = sys._getframe()
while frame:
    take(frame.f_locals), take(frame.f_globals)
    frame = frame.f_back
for each in gc.get_objects(): take(each, 3)
found += sorted(numbers)[:50_000]""",
}
