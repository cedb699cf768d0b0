"""A server for parts 1 and 3 in one file, with a switch for each step: UPTO=3.4 makes
it the program of a reader who has built all up to step 3.4, and nothing after it.

    make judge PART=3 SERVER='UPTO=3.4 python3 notes/judged/reference.py'

It is written to be read beside the chapters. It is not fast: one thread for each
connection, and one more for each handler that runs."""
import contextlib, os, re, select, signal, socket, threading, time


def number(step):
    return tuple(map(int, step.split(".")))


UPTO = number(os.environ.get("UPTO", "4.10"))


def built(step):
    return number(step) <= UPTO


def date():
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())


# Steps 1.2 to 1.5: one request, one response, close.

def serve_once(sock):
    head, got, deadline = bytearray(), b"?", time.monotonic() + 5
    while got and b"\r\n\r\n" not in head[-len(got) - 3:]:
        sock.settimeout(max(0.001, deadline - time.monotonic()) if built("1.3") else None)
        got = sock.recv(4096)
        head += got
        if not built("1.3") or built("1.3") and len(head) > 8 << 10:
            break
    if not head:
        return
    status = "200 OK" if b"\r\n\r\n" in head or not built("1.3") else "400 Bad Request"
    if len(head) > 8 << 10 and status != "200 OK":
        status = "431 Request Header Fields Too Large"
    if status == "200 OK" and built("1.4") and not REQUEST_LINE.match(head):
        status = "400 Bad Request"
    body = b"Hello, World!\n" if status == "200 OK" else status.encode() + b"\n"
    fields = f"Date: {date()}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    sock.sendall(f"HTTP/1.1 {status}\r\n{fields}\r\n".encode() + (b"" if built("1.4") and head.startswith(b"HEAD ") else body))


def linger(sock):
    """Reads until the client has closed, so that the close resets nothing (1.5)."""
    sock.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + 2
    while (left := deadline - time.monotonic()) > 0:
        sock.settimeout(left)
        if not sock.recv(1 << 16):
            return


# Steps 3.3 to 3.5: what a head says.

MAX_HEAD, MAX_FIELDS, MAX_BODY = 16 << 10, 100, 8 << 20
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
TARGET = rb"[!$%&'()*+,\-./:;=?@\[\]_~0-9A-Za-z]+" if built("3.5") else rb"[^ \t\r\n]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") (" + TARGET + rb") HTTP/(\d)\.(\d)\r\n")
FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)\r\n")
HOST = re.compile(rb"(?:(?:[!$&'()*+,;=\-._~0-9A-Za-z]|%[0-9A-Fa-f]{2})*|\[[0-9a-fA-F:.]+\])(?::\d*)?\Z")
KNOWN = b"GET HEAD POST PUT DELETE PATCH OPTIONS TRACE".split()


class Refused(Exception):
    """A status and the reason; the connection closes after the response."""


class Closed(Exception):
    """The client sends no more."""


def check_start(head):
    """Refuses what is wrong however the head goes on."""
    if built("3.3") and head and not re.match(TOKEN + rb"|\r", head):
        raise Refused(400, "a request begins with a method")
    if built("3.4") and re.search(rb"(?<!\r)\n", head):
        raise Refused(400, "a line ends in a bare LF")


def too_long(head):
    if b"\n" in head:
        return Refused(431, "the head is too long")
    method = re.match(TOKEN + rb"|", head)[0]
    if len(method) == len(head) or len(method) > 32:
        return Refused(501, "the method is too long to be known")
    rest = head[len(method):]
    return Refused(414 if re.fullmatch(rb" " + TARGET + rb"(?: .*)?", rest, re.S) else 400, "the request line is too long")


def parse_fields(lines):
    fields = []
    while lines != b"\r\n":
        line = FIELD_LINE.match(lines)
        if not line:
            raise Refused(400, "a field line is not name, colon, value")
        if len(fields) == MAX_FIELDS:
            raise Refused(431, "there are too many fields")
        fields.append((line[1].lower(), line[2].strip(b" \t")))
        lines = lines[line.end():]
    return fields


class Request:
    def __init__(self, head):
        self.method, self.target, self.minor = head.split(b" ", 1)[0], b"/", 1
        self.path, self.host, self.length, self.chunked, self.expects = b"/", None, 0, False, False
        self.options = [b"close"] if b"\r\nConnection: close\r\n" in head else []
        check_start(head)
        if built("3.3"):
            head = self.parse_line(head)
        if built("3.5"):
            self.parse_target(self.target)
        if built("3.4"):
            self.fields = parse_fields(head)
            self.check_host()
            self.options = [option.strip() for value in self.all(b"connection") for option in value.lower().split(b",")]
        if built("3.7"):
            self.check_length()
        if built("3.8"):
            self.check_coding()
        if built("3.10") and self.minor and (expected := self.all(b"expect")):
            self.expects = expected[-1].lower() == b"100-continue"
            if not self.expects:
                raise Refused(417, "the only expectation known here is 100-continue")

    def parse_line(self, head):
        line = REQUEST_LINE.match(head)
        if not line:
            raise Refused(400, "the request line is not: method, space, target, space, HTTP/1.1")
        self.method, self.target, major, minor = line.groups()
        if major != b"1":
            raise Refused(505, "this server speaks HTTP/1.1")
        if self.method not in KNOWN and not built("3.6") or self.method == b"CONNECT":
            raise Refused(501, "the method is not known")
        self.minor = min(int(minor), 1)
        return head[line.end():]

    def parse_target(self, target):
        if target[:7].lower() == b"http://":
            self.host = re.match(rb"[^/?]*", target[7:])[0]
            target = target[7 + len(self.host):]
            if not self.host or not HOST.match(self.host):
                raise Refused(400, "the target has no valid host")
            if target == b"" and self.method == b"OPTIONS":
                target = b"*"
        elif target[:8].lower() == b"https://":
            raise Refused(421, "this server does not speak https")
        elif target[:1] != b"/" and (target != b"*" or self.method != b"OPTIONS"):
            raise Refused(400, "the target is neither a path nor http://host/path")
        self.path = target.partition(b"?")[0] or b"/"

    def check_host(self):
        hosts = self.all(b"host")
        if len(hosts) > 1 or not hosts and self.minor or any(not HOST.match(host) for host in hosts):
            raise Refused(400, "an HTTP/1.1 request has one Host, with a valid host in it")
        self.host = self.host or b"".join(hosts)

    def check_length(self):
        lengths = self.all(b"content-length")
        if len(lengths) > 1 or lengths and not re.fullmatch(rb"\d+", lengths[0]):
            raise Refused(400, "Content-Length is not one number")
        self.length = int(lengths[0]) if lengths else 0
        if self.length > MAX_BODY:
            raise Refused(413, "the body is too long")

    def check_coding(self):
        codings = self.all(b"transfer-encoding")
        if len(codings) > 1 or codings and (self.all(b"content-length") or not self.minor):
            raise Refused(400, "Transfer-Encoding is there twice, with a length, or in HTTP/1.0")
        self.chunked = codings != []
        if codings and codings[0].lower() != b"chunked":
            names = [part.partition(b";")[0].strip(b" \t") for part in codings[0].lower().split(b",")]
            ends = codings[0].lower().rstrip().endswith(b"chunked") and names[-1] == b"chunked" and b"chunked" not in names[:-1]
            raise Refused(501 if ends and all(re.fullmatch(TOKEN, name) for name in names) else 400, "the coding is not chunked alone")

    def all(self, name):
        return [value for field, value in self.fields if field == name]

    def persists(self):
        return b"close" not in self.options and (self.minor or not built("3.9") or b"keep-alive" in self.options)


# Steps 3.1, 3.7, 3.8 and 4.9: bytes of a connection, where a body ends, and when.

TIME_LIMIT = int(os.environ.get("TIME_LIMIT", "30"))  # seconds: for a head, a piece of a body, the next request, a write

QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
EXTENSIONS = rb"(?:[ \t]*;[ \t]*" + TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + TOKEN + rb"|" + QUOTED + rb"))?)*"
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)" + EXTENSIONS)


class Input:
    """The bytes that the server has received and not used."""
    def __init__(self, sock):
        self.sock, self.bytes, self.heads = sock, b"", 0  # heads: how many it has taken

    def more(self, deadline=None, between=False):
        ready = select.poll()
        ready.register(self.sock, select.POLLIN)
        if not self.bytes and between and built("4.10"):
            ready.register(stopping[0], select.POLLIN)
        left = deadline - time.monotonic() if deadline else TIME_LIMIT
        events = dict(ready.poll(max(1, 1000 * left) if built("4.9") else None))
        if not events:
            raise TimeoutError
        if self.sock.fileno() not in events or self.heads and stopping[0] in events:
            raise Closed  # the server stops: it reads one more request if it has read none
        got = self.sock.recv(32 << 10)
        if not got:
            raise Closed
        self.bytes += got

    def holds_a_head(self):
        return b"\r\n\r\n" in self.bytes

    def take(self, n):
        taken, self.bytes = self.bytes[:n], self.bytes[n:]
        return taken

    def head(self, slots):
        deadline, empty = None, 0
        while True:
            while built("3.3") and self.bytes.startswith(b"\r\n"):
                self.take(2)
                if (empty := empty + 1) > 2:
                    raise Refused(400, "there are too many empty lines")
            end = self.bytes.find(b"\r\n\r\n") + 4
            if 4 <= end <= MAX_HEAD:
                self.heads += 1
                return self.take(end)
            check_start(self.bytes[:MAX_HEAD])
            if len(self.bytes) >= MAX_HEAD:
                raise too_long(self.bytes[:MAX_HEAD])
            if self.bytes and not deadline:
                deadline = time.monotonic() + TIME_LIMIT
            try:
                self.more(deadline, between=True)
            except TimeoutError:
                if self.bytes:
                    raise Refused(408, "the request did not arrive in time")
                if slots.are_idle():
                    raise Closed


class Body:
    def __init__(self, request, input, slot):
        self.input, self.slot, self.waits = input, slot, request.expects
        self.whole = not request.chunked and request.length == 0
        self.pieces = self.chunks() if request.chunked else self.counted(request.length)

    def more(self):
        if self.waits:  # the handler wants the body: ask for it (3.10)
            self.waits = False
            self.slot.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            self.input.more()
        except (Closed, TimeoutError):
            raise Refused(400, "the body ended before its end")

    def counted(self, left):
        while left:
            if not self.input.bytes:
                self.more()
            piece = self.input.take(left)
            left -= len(piece)
            yield piece

    def line(self, limit):
        while b"\n" not in self.input.bytes[:limit]:
            if len(self.input.bytes) >= limit:
                raise Refused(400, "a line of the chunked coding is too long")
            self.more()
        line = self.input.take(self.input.bytes.index(b"\n") + 1)
        if not line.endswith(b"\r\n"):
            raise Refused(400, "a line of the chunked coding ends in a bare LF")
        return line[:-2]

    def chunks(self):
        total = overhead = 0
        while True:
            line = self.line(256)
            size = CHUNK_LINE.fullmatch(line)
            if not size:
                raise Refused(400, "a chunk does not begin with its size in hexadecimal")
            size = int(size[1], 16)
            total, overhead = total + size, max(0, overhead + len(line) - 16 - 2 * size)
            if total > MAX_BODY:
                raise Refused(413, "the body is too long")
            if overhead > MAX_HEAD:
                raise Refused(400, "the chunks are mostly extensions")
            if not size:
                break
            yield from self.counted(size)
            if self.line(2):
                raise Refused(400, "a chunk is not as long as its size")
        trailers = b""
        while not trailers.endswith(b"\r\n\r\n") and trailers != b"\r\n":
            trailers += self.line(MAX_HEAD - len(trailers)) + b"\r\n"
        parse_fields(trailers)

    def read(self):
        for piece in self.pieces:
            yield piece
        self.whole = True

    def skip(self):
        """Reads what no handler has read; False if the connection has to close instead."""
        skipped = 0
        for piece in self.read() if not self.whole and not self.waits else ():
            if (skipped := skipped + len(piece)) > 256 << 10:
                return False
        return self.whole


# Steps 3.6 and 3.9: what a handler writes, and how it is sent.

REASONS = {200: "OK", 204: "No Content", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed",
           408: "Request Timeout", 413: "Content Too Large", 414: "URI Too Long", 417: "Expectation Failed",
           421: "Misdirected Request", 431: "Request Header Fields Too Large", 501: "Not Implemented",
           505: "HTTP Version Not Supported"}


class Response:
    def __init__(self, slot, request, head_only):
        self.slot, self.status, self.fields, self.body = slot, 200, {"Content-Type": "text/plain"}, b""
        self.head_only = head_only
        self.old = request is not None and request.minor == 0 and built("3.9")
        self.close, self.framing = request is None or not request.persists(), None  # None: the head is not sent

    def error(self, status, reason, **fields):
        self.status, self.fields = status, {"Content-Type": "text/plain"} | fields
        self.body = f"{status} {REASONS[status]}: {reason}\n".encode()

    def head(self):
        fields = {"Date": date()} | self.fields
        if self.framing == "chunked":
            fields["Transfer-Encoding"] = "chunked"
        elif not self.framing and self.status != 204:
            fields["Content-Length"] = len(self.body)
        if self.close or self.old:
            fields["Connection"] = "close" if self.close else "keep-alive"
        lines = [f"HTTP/1.1 {self.status} {REASONS[self.status]}"] + [f"{name}: {value}" for name, value in fields.items()]
        return "\r\n".join(lines + ["", ""]).encode("latin-1")

    def content(self):
        piece, self.body = self.body, b""
        if self.head_only or self.status == 204:
            return b""
        return b"%x\r\n%s\r\n" % (len(piece), piece) if self.framing == "chunked" and piece else piece

    def flush(self):
        """Sends what is written, as a part of a body whose length is not known (3.9)."""
        head = b""
        if not self.framing:
            self.framing = "to the end" if self.old else "chunked"
            self.close = self.close or self.old
            head = self.head()
        self.slot.write(head + self.content())

    def finish(self):
        head = b"" if self.framing else self.head()
        last = b"0\r\n\r\n" if self.framing == "chunked" and not self.head_only else b""
        self.slot.write(head + self.content() + last)


def hello(response, request, body, rest):
    response.body = b"Hello, World!\n"


def echo(response, request, body, rest):
    response.body = b"".join(body.read())
    content_type = (request.all(b"content-type") or [b""])[0] or b"application/octet-stream"
    response.fields["Content-Type"] = content_type.decode("latin-1")


def sleep(response, request, body, rest):
    duration = re.fullmatch(rb"(\d+(?:\.\d+)?)(ms|s|m)", rest)
    seconds = duration and float(duration[1]) * {b"ms": 0.001, b"s": 1, b"m": 60}[duration[2]]
    if seconds is None or seconds > 60:
        return response.error(400, "a duration is 20ms, 1.5s or 1m, and at most 1m")
    time.sleep(seconds)
    response.body = b"slept " + rest + b"\n"


def stream(response, request, body, rest):
    if not re.fullmatch(rb"\d{1,7}", rest):
        return response.error(400, "a stream has a number of lines")
    for i in range(int(rest)):
        response.body += b"line %d\n" % (i + 1)
        if built("3.9"):
            response.flush()
        if response.slot.slots.gone:
            return
    if built("3.9"):
        response.flush()


READ, WRITE = "GET, HEAD, OPTIONS", "POST, PUT, OPTIONS"
ROUTES = [(rb"/", READ, hello), (rb"/echo", WRITE, echo), (rb"/sleep/(.*)", "GET, HEAD, POST, OPTIONS", sleep), (rb"/stream/(.*)", READ, stream)]


def dispatch(response, request, body):
    if not built("3.6"):
        return hello(response, request, body, b"")
    method = request.method.decode()
    found = [(allow, handler, match) for path, allow, handler in ROUTES if (match := re.fullmatch(path, request.path))]
    if request.method not in KNOWN:
        response.error(501, "the method is not known")
    elif request.path == b"*":
        response.status, response.fields = 204, {"Allow": "GET, HEAD, POST, PUT, OPTIONS"}
    elif not found:
        response.error(404, "nothing is there")
    else:
        allow, handler, match = found[0]
        if method == "OPTIONS":
            response.status, response.fields = 204, {"Allow": allow}
        elif method not in allow.split(", "):
            response.error(405, "the method is not allowed", Allow=allow)
        else:
            handler(response, request, body, b"".join(match.groups()))


# Steps 4.3 to 4.8: responses in the order of the requests.

MAX_SLOTS, MAX_PARKED = 32, 64 << 10


class Slots:
    """The places of a connection's responses, taken when the requests arrive."""
    def __init__(self, sock):
        self.sock, self.queue, self.changed = sock, [], threading.Condition()
        self.added, self.emptied = 0, time.monotonic()  # how many slots there were, and when the last one was sent
        self.gone = False  # the client: it has left, or does not read

    def add(self):
        with self.changed:
            self.changed.wait_for(lambda: len(self.queue) < MAX_SLOTS or not built("4.8"))
            self.added += 1
            self.queue.append(Slot(self, self.added))
            return self.queue[-1]

    def send(self):
        """Sends what is at the head of the queue. The caller holds changed."""
        while self.queue:
            first = self.queue[0]
            parked, first.parked = first.parked, b""
            try:
                while parked and not self.gone:
                    self.sock.sendall(parked[:64 << 10])  # each has TIME_LIMIT (4.9)
                    parked = parked[64 << 10:]
            except OSError:  # its handlers end all the same
                self.gone = True
                with contextlib.suppress(OSError):
                    self.sock.shutdown(socket.SHUT_RD)
            if not first.done:
                break
            self.queue.pop(0)
            self.emptied = time.monotonic()
        self.changed.notify_all()

    def are_idle(self):
        with self.changed:
            return not self.queue and time.monotonic() >= self.emptied + TIME_LIMIT

    def wait_until_empty(self):
        with self.changed:
            self.changed.wait_for(lambda: not self.queue)


class Slot:
    """The place of one response: what is written to it leaves when all before it have left."""
    def __init__(self, slots, number):
        self.slots, self.number, self.parked, self.done = slots, number, b"", False

    def write(self, piece):
        with self.slots.changed:
            self.slots.changed.wait_for(lambda: not built("4.8") or self is self.slots.queue[0] or len(self.parked) < MAX_PARKED)
            self.parked += piece
            self.slots.send()

    def finish(self):
        with self.slots.changed:
            self.done = True
            self.slots.send()


SAFE = [b"GET", b"HEAD", b"OPTIONS"]


def serve(sock):
    """Serves the requests of one connection, from step 3.1 on."""
    input, slots, last = Input(sock), Slots(sock), False
    while not last:
        head = b""
        try:
            head = input.head(slots)
            request = Request(head)
        except Refused as refused:
            slot = slots.add()
            respond(slot, None, refused, None, (head or input.bytes).startswith(b"HEAD "))
            break
        except (Closed, OSError):
            break
        last = not request.persists() or built("4.10") and stops() and not input.holds_a_head()
        alone = request.method not in SAFE and built("4.7")
        if alone:
            slots.wait_until_empty()
        slot = slots.add()
        body = Body(request, input, slot)
        if alone or not body.whole or not request.minor or not built("4.3"):
            last = respond(slot, request, None, body, request.method == b"HEAD")
        else:
            threading.Thread(target=respond, args=(slot, request, None, body, request.method == b"HEAD"), daemon=True).start()
    slots.wait_until_empty()


def respond(slot, request, refused, body, head_only):
    """Fills a slot, and returns whether its response is the connection's last."""
    response = Response(slot, request, head_only)
    try:
        if refused:
            raise refused
        dispatch(response, request, body)
        response.close = not body.skip() or response.close or built("4.10") and stops() and slot.number == body.input.heads and not body.input.holds_a_head()
    except Refused as error:
        response.close = True
        if not response.framing:
            response.error(*error.args)
    response.finish()
    slot.finish()
    return response.close


# Steps 1.1, 1.2, 3.2, 1.6 and 4.10: connections.

connections = set()  # those that are open
stopping = os.pipe()  # SIGTERM writes a byte into it, which nothing reads: it tells the listener and all connections


def stops():
    return select.select([stopping[0]], [], [], 0)[0] != []


def connection(sock):
    if built("4.9") and built("3.1"):
        sock.settimeout(TIME_LIMIT)
    try:
        (serve if built("3.1") else serve_once)(sock)
        if built("1.5"):
            linger(sock)
    except OSError:
        if not built("1.2"):
            raise
    finally:
        sock.close()
        connections.discard(sock)


def main():
    host, port = os.environ["ADDR"].rsplit(":", 1)
    listener = socket.create_server((host, int(port)), backlog=128)
    if not built("1.2"):
        signal.pause()

    if built("1.6"):
        os.set_blocking(stopping[1], False)
        signal.set_wakeup_fd(stopping[1])
        signal.signal(signal.SIGTERM, lambda *_: None)
    listener.setblocking(False)
    while True:
        select.select([listener, stopping[0]], [], [])
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            if stops():
                break  # and the queue is empty
            continue
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections.add(sock)
        if built("3.2"):
            threading.Thread(target=connection, args=(sock,), daemon=True).start()
        else:
            connection(sock)
    listener.close()
    deadline = time.monotonic() + 4 if built("4.10") else float("inf")
    while connections and time.monotonic() < deadline:
        time.sleep(0.01)


main()
