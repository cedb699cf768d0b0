"""A client with a pool, in one file, to judge the judge of clients by. UPTO=6.4 leaves
out what later steps add; changed_client.py makes wrong and unusual clients of it."""
import os, queue, select, socket, sys, threading
from urllib.parse import urlsplit

CONNECT, RESPONSE = 2, 2  # seconds
MAX_HEAD = 64 << 10
UPTO = os.environ.get("UPTO", "9.9")


def built(step):
    return [int(n) for n in step.split(".")] <= [int(n) for n in UPTO.split(".")]


class Failed(Exception):
    pass


class Connection:
    def __init__(self, address):
        self.sock = socket.create_connection(address, timeout=CONNECT if built("2.3") else None)
        self.sock.settimeout(RESPONSE if built("6.3") else None)
        self.bytes, self.used, self.began, self.kept = b"", 0, False, False

    def close(self):
        self.sock.close()

    def is_idle(self):
        """Neither bytes nor FIN wait on a connection that has its last response."""
        return not self.bytes and not select.select([self.sock], [], [], 0)[0]

    def more(self):
        got = self.sock.recv(64 << 10)
        if not got:
            raise Failed("the connection ended too early")
        self.bytes, self.began = self.bytes + got, True

    def take(self, n):
        while len(self.bytes) < n:
            self.more()
        taken, self.bytes = self.bytes[:n], self.bytes[n:]
        return taken

    def line(self):
        while (end := self.bytes.find(b"\r\n")) < 0:
            self.more()
        return self.take(end + 2)[:-2]

    def exchange(self, method, host, target):
        """Sends a request, and returns the status and the length of the body."""
        self.used, self.began = self.used + 1, False
        fields = [f"Host: {host}"]
        body = b"body" if method == "POST" else b""
        if body:
            fields.append(f"Content-Length: {len(body)}")
        self.sock.sendall("\r\n".join([f"{method} {target} HTTP/1.1", *fields, "", ""]).encode() + body)
        version, status, fields = self.head()
        while built("6.2") and 100 <= status < 200:
            version, status, fields = self.head()
        options = [o.strip().lower() for o in fields.get("connection", "").split(",")]
        self.kept = "close" not in options and (version == "HTTP/1.1" or "keep-alive" in options)
        return status, self.body(method, status, fields)

    def head(self):
        while (end := self.bytes.find(b"\r\n\r\n")) < 0:
            if len(self.bytes) > MAX_HEAD:
                raise Failed("the head is too long")
            self.more()
        first, *lines = self.take(end + 4)[:-4].decode("latin-1").split("\r\n")
        version, status, *_ = first.split(" ") + [""]
        if version not in ("HTTP/1.0", "HTTP/1.1") or not status.isdigit() or len(status) != 3:
            raise Failed("no HTTP")
        fields = {}
        for line in lines:
            name, _, value = line.partition(":")
            name = name.lower()
            fields[name] = f"{fields[name]}, {value.strip()}" if name in fields else value.strip()
        return version, int(status), fields

    def body(self, method, status, fields):
        if built("6.2") and (method == "HEAD" or status in (204, 304)):
            return 0
        if built("6.2") and "transfer-encoding" in fields:
            return self.chunks()
        if "content-length" in fields:
            return len(self.take(int(fields["content-length"])))
        return self.rest()

    def chunks(self):
        length = 0
        while size := int(self.line().split(b";")[0], 16):
            length += len(self.take(size))
            if self.line():
                raise Failed("a chunk is longer than it says")
        while self.line():  # trailers
            pass
        return length

    def rest(self):
        self.kept = False
        while got := self.sock.recv(64 << 10):
            self.bytes += got
        return len(self.bytes)


class Pool:
    """The idle connections; a caller has one at a time, so that there are as many as callers."""

    def __init__(self):
        self.lock, self.idle = threading.Lock(), {}

    def get(self, address):
        while True:
            with self.lock:
                if not self.idle.get(address):
                    break
                c = self.idle[address].pop()
            if not built("6.5") or c.is_idle():
                return c
            c.close()
        return Connection(address)

    def give_back(self, address, c):
        if not c.kept or not built("6.4"):
            c.close()
            return
        with self.lock:
            self.idle.setdefault(address, []).append(c)


def round_trip(pool, method, url):
    u = urlsplit(url)
    address, target = (u.hostname, u.port or 80), (u.path or "/") + (f"?{u.query}" if u.query else "")
    c = pool.get(address)
    while True:
        try:
            result = c.exchange(method, u.netloc, target)
            pool.give_back(address, c)
            return result
        except (OSError, Failed):
            c.close()
            if not built("6.6") or c.used == 1 or c.began or method == "POST":
                raise
        c = Connection(address)


def caller(pool, requests):
    while line := requests.get():
        try:
            text = "%d %d" % round_trip(pool, *line.split(" ", 1))
        except (OSError, Failed, ValueError) as error:
            text = f"error {error!r}"
        print(f"{line} {text}\n", end="", flush=True)


def main():
    pool, requests = Pool(), queue.Queue()
    callers = [threading.Thread(target=caller, args=(pool, requests)) for _ in range(int(os.environ["CALLERS"]) if built("6.7") else 1)]
    for c in callers:
        c.start()
    for line in sys.stdin:
        requests.put(line.strip())
    for c in callers:
        requests.put(None)


main()
