"""The rig of the benchmark: one upstream, one proxy at a time under load, one load generator, and the books of the kernel.

A proxy's requests per second say as much about the machine, the load generator and the upstream as about the proxy.
What it costs to carry one request is a property of the proxy, and the kernel keeps that account: user and system time
of the process, its work inside the loopback's network stack included. So every figure here starts from /proc.

The proxy has core 0 for itself; upstream and load generator share core 1. Each process is the plain foreground kind,
started by this script and ended by it.
"""

import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROXY_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 64                     # enough to keep the proxy busy, few enough that p99 is not just the queue
SMALL, LARGE = 100, 100 * 1024       # bytes of the two answers
FOREVER = 1_000_000_000              # requests on one connection: none is closed for its age
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

WRK_REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('REPORT {"requests":%d,"us":%d,"p99_us":%d,"bytes":%d,' ..
    '"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\\n',
    summary.requests, summary.duration, latency:percentile(99), summary.bytes,
    e.connect, e.read, e.write, e.status, e.timeout))
end
"""


class RigError(Exception):
    """Something that makes measuring pointless: a missing tool, a process that does not serve."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One kind of load."""

    name: str
    says: str
    path: str
    headers: tuple = ()
    new_connections: bool = False


CASES = (
    Case("small", f"{SMALL}-byte answers, {CONNECTIONS} kept-alive connections", "/small"),
    Case("large", f"{LARGE // 1024} KiB answers, {CONNECTIONS} kept-alive connections", "/large"),
    Case("connect", f"{SMALL}-byte answers, a new connection each request", "/small",
         ("Connection: close",), new_connections=True),
)


@dataclasses.dataclass(frozen=True)
class Round:
    """What one round of load cost and gave."""

    requests: int
    cpu_us: float        # per request
    per_second: float
    p99_us: float
    busy: float          # share of its core that the proxy used
    errors: dict         # kind -> count, only those that happened


# ---- the parties ---------------------------------------------------------------------------------------------------

class Process:
    """A child in the foreground, pinned to one core, with its output in a file."""

    def __init__(self, name, core, command, folder):
        self.name, self.log = name, folder / f"{name}.log"
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(["taskset", "-c", str(core), *map(str, command)], stdin=subprocess.DEVNULL,
                                          stdout=log, stderr=subprocess.STDOUT, cwd=folder)

    def wait_until_serving(self, port, deadline=15.0):
        """Returns once both files come back whole; a process that ends instead, or never serves, is an error."""
        ends = time.monotonic() + deadline
        while not (serves(port, "/small", SMALL) and serves(port, "/large", LARGE)):
            if self.child.poll() is not None or time.monotonic() > ends:
                raise RigError(f"{self.name} does not serve on port {port}:\n{self.tail()}")
            time.sleep(0.02)

    def tail(self):
        return "".join(self.log.read_text(errors="replace").splitlines(keepends=True)[-20:])

    def cpu_seconds(self):
        """User and system time of all threads of the process and of its children."""
        return sum(ticks(pid) for pid in tree(self.child.pid)) / TICKS_PER_SECOND

    def memory_kib(self, field):
        """`VmRSS` or `VmHWM` of the process and its children, in KiB."""
        return sum(status(pid, field) for pid in tree(self.child.pid))

    def stop(self):
        """A quick end: what is still open belongs to nobody."""
        self.child.terminate()
        try:
            self.child.wait(2)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def serves(port, path, size):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status == 200 and len(answer.read()) == size
    return False


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Rig:
    """The upstream, and what is needed to start a proxy in front of it."""

    def __init__(self, folder, binaries):
        self.folder, self.binaries, self.processes = folder, binaries, []
        raise_file_limit()
        self.upstream_port = free_port()

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))    # unwinds, so that no process is left behind
        files = self.folder / "files"
        files.mkdir()
        (files / "small").write_bytes(b"x" * SMALL)
        (files / "large").write_bytes(b"x" * LARGE)
        command = nginx_command(self.folder, "upstream", UPSTREAM, port=self.upstream_port, files=files)
        self.start("upstream", LOAD_CORE, command, self.upstream_port)
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.stop()

    def start(self, name, core, command, port):
        process = Process(name, core, command, self.folder)
        self.processes.append(process)
        process.wait_until_serving(port)
        return process

    def proxy(self, name):
        """Starts the proxy of that name afresh; gives the process and its port."""
        port = free_port()
        return self.start(name, PROXY_CORE, PROXIES[name](self, port), port), port

    def stop(self, process):
        process.stop()
        self.processes.remove(process)


def raise_file_limit(wanted=65536):
    """Ten thousand idle connections need as many descriptors; children inherit the limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for limit in ((wanted, max(wanted, hard)), (hard, hard)):
        with contextlib.suppress(ValueError, OSError):
            return resource.setrlimit(resource.RLIMIT_NOFILE, limit)


# ---- how each proxy is set up --------------------------------------------------------------------------------------

def tetap(rig, port):
    """The product as it is run: access log to a file, metrics and limits on."""
    conf = rig.folder / "tetap.yaml"
    conf.write_text(TETAP.format(port=port, admin=free_port(), upstream=rig.upstream_port,
                                 log=rig.folder / "tetap.access.log"))
    return [rig.binaries["tetap"], "run", "--config", conf]


def bare_pingora(rig, port):
    """The same Pingora without anything around it: no log, no metrics, no limits."""
    return [rig.binaries["bare"], f"127.0.0.1:{port}", f"127.0.0.1:{rig.upstream_port}"]


def nginx(rig, port):
    """Access log to a file through a buffer of 64 KiB; bodies are never spilled to the disk."""
    return nginx_command(rig.folder, "nginx", NGINX, port=port, upstream=rig.upstream_port)


def haproxy(rig, port):
    """No access log: it can only send one to a log server."""
    conf = rig.folder / "haproxy.cfg"
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    conf.write_text(HAPROXY.format(port=port, upstream=rig.upstream_port, connections=files * 3 // 4))
    return [tool("haproxy"), "-db", "-f", conf]


PROXIES = {"tetap": tetap, "bare": bare_pingora, "nginx": nginx, "haproxy": haproxy}

TETAP = """
listeners:
  - {{name: bench, address: "127.0.0.1:{port}"}}
admin: {{address: "127.0.0.1:{admin}"}}
upstreams:
  files:
    endpoints: ["127.0.0.1:{upstream}"]
routes:
  - {{name: files, match: {{path: {{prefix: /}}}}, upstream: files}}
access_log: {{format: json, output: "{log}"}}
process: {{threads: 1, supervise: false}}
"""

NGINX_MAIN = """
daemon off; master_process off; worker_processes 1;
pid {folder}/{name}.pid; error_log stderr error;
events {{ worker_connections {connections}; }}
http {{
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {http}
}}
"""

UPSTREAM = """
  access_log off; sendfile on; tcp_nopush on; open_file_cache max=10; default_type application/octet-stream;
  keepalive_requests {forever}; keepalive_timeout 1h;
  server {{ listen 127.0.0.1:{port} backlog=4096; root {files}; }}
"""

NGINX = """
  access_log {folder}/nginx.access.log combined buffer=64k flush=1s;
  keepalive_requests {forever}; keepalive_timeout 75s; proxy_max_temp_file_size 0;
  upstream files {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests {forever}; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://files; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
"""

HAPROXY = """
global
  nbthread 1
  no strict-limits
  maxconn {connections}
defaults
  mode http
  http-reuse always
  timeout connect 1s
  timeout client 75s
  timeout server 30s
  timeout http-keep-alive 75s
frontend bench
  bind 127.0.0.1:{port} backlog 4096
  default_backend files
backend files
  server one 127.0.0.1:{upstream}
"""


def nginx_command(folder, name, http, **words):
    words |= {"folder": folder, "forever": FOREVER}
    connections = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100
    path = folder / f"{name}.conf"
    path.write_text(NGINX_MAIN.format(name=name, folder=folder, connections=connections, http=http.format(**words)))
    return [tool("nginx"), "-p", folder, "-e", "stderr", "-c", path]


def tool(name):
    """Where a Debian tool is; its servers are in /usr/sbin, which is not in everybody's PATH."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not found:
        raise RigError(f"{name} is missing: apt-get install {name}")
    return found


# ---- load ----------------------------------------------------------------------------------------------------------

def load(process, port, case, seconds, folder):
    """One round: the load, and what the proxy's books say about it."""
    cpu, opened = process.cpu_seconds(), connections_opened()
    started = time.monotonic()
    report = wrk(port, case, seconds, folder)
    wall = time.monotonic() - started
    time.sleep(0.1)                  # a log writer behind its queue is part of the cost
    cpu, opened = process.cpu_seconds() - cpu, connections_opened() - opened
    return Round(report["requests"], cpu * 1e6 / max(report["requests"], 1), report["requests"] * 1e6 / report["us"],
                 report["p99_us"], cpu / wall, errors(report, case, opened))


def wrk(port, case, seconds, folder):
    script = folder / "report.lua"
    script.write_text(WRK_REPORT)
    headers = [word for header in case.headers for word in ("-H", header)]
    command = ["taskset", "-c", str(LOAD_CORE), tool("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script,
               *headers, f"http://127.0.0.1:{port}{case.path}"]
    output = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    for line in output.stdout.splitlines():
        if line.startswith("REPORT "):
            return json.loads(line.removeprefix("REPORT "))
    raise RigError(f"wrk gave no report:\n{output.stdout}{output.stderr}")


def errors(report, case, opened):
    """What makes a round invalid, by kind."""
    found = {kind: count for kind, count in report["errors"].items() if count}
    if not report["requests"]:
        found["no answer at all"] = 1
    if case.new_connections and opened < report["requests"]:
        found["connections reused"] = report["requests"] - opened
    return found


def idle_connections(port, count):
    """Opens that many connections, has one request answered on each, and leaves them open."""
    connections = []
    for number in range(count):
        source = f"127.0.{1 + number // 1000}.1"      # a thousand each, so that no source runs out of ports
        connection = socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(source, 0))
        ask(connection)
        connections.append(connection)
    return connections


def ask(connection):
    connection.sendall(b"GET /small HTTP/1.1\r\nHost: bench\r\n\r\n")
    answer = b""
    while not answer.endswith(b"\r\n\r\n" + b"x" * SMALL):
        received = connection.recv(4096)
        if not received:
            raise RigError(f"an answer broke off: {answer!r}")
        answer += received


# ---- the kernel's books --------------------------------------------------------------------------------------------

def tree(pid):
    """The process and all its descendants."""
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [member for child in task.read_text().split() for member in tree(int(child))]
    return found


def ticks(pid):
    """`utime` and `stime` of proc_pid_stat(5): fields 14 and 15, counted from behind the name in brackets."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def status(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    return 0


def connections_opened():
    """TCP connections that anything on this machine has accepted so far."""
    names, values = [line.split() for line in pathlib.Path("/proc/net/snmp").read_text().splitlines()
                     if line.startswith("Tcp:")]
    return int(values[names.index("PassiveOpens")])


# ---- the binaries --------------------------------------------------------------------------------------------------

def build(names):
    """Builds what is asked for with the release profile; gives name -> path."""
    targets = {"tetap": ["--bin", "tetap"], "bare": ["--example", "bare_pingora"]}
    wanted = [word for name in names if name in targets for word in targets[name]]
    if wanted:
        subprocess.run(["cargo", "build", "--release", *wanted], cwd=ROOT, check=True)
    return built()


def built():
    release = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    return {"tetap": release / "tetap", "bare": release / "examples" / "bare_pingora"}


def fail(message):
    """Ends the program as the shell expects it of a tool that could not do its work."""
    print(message, file=sys.stderr)
    sys.exit(2)
