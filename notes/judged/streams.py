"""A gateway to a backend that speaks HTTP/2, in one file, with a switch for each step:
UPTO=9.5 makes it the program of a reader who has built all up to step 9.5.

    make judge PART=4 STREAMS=1 SERVER='UPTO=9.5 python3 notes/judged/streams.py'

It is written to be read beside chapter 9, and is not fast: a thread for each client, one
for each connection to the backend. Its front takes one request from each connection and
closes it. Fields are sent spelled out, and its dynamic table has size 0. Step 9.11 is for
several client addresses, and the judge has one."""
import collections, os, re, socket, struct, threading

STEPS = "9.1 9.2 9.3 9.4 9.5 9.6 9.7 9.8 9.9 9.10".split()
UPTO = os.environ.get("UPTO", STEPS[-1])


def built(step):
    return STEPS.index(step) <= STEPS.index(UPTO)


# Frames: step 9.1.

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 1, 1, 4, 8, 32
REFUSED_STREAM, CANCEL, PROTOCOL_ERROR = 7, 8, 1
WINDOW, WAIT = 65535, 30  # bytes, seconds


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


# Compressed fields: step 9.2. The symbols of RFC 7541's code, by the number of their bits.

HUFFMAN = {5: b"012aceiost", 6: b" %-./3456789=A_bdfghlmnpru", 7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz", 8: b"&*,;XZ",
           10: b'!"()?', 11: b"'+|", 12: b"#>", 13: b"\0$@[]~", 14: b"^}", 15: b"<`{"}  # and no others: heads are text
STATIC = """:authority|:method GET|:method POST|:path /|:path /index.html|:scheme http|:scheme https|:status 200|:status 204|:status 206|:status 304|:status 400|:status 404|:status 500|accept-charset|accept-encoding gzip, deflate|accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control|content-disposition|content-encoding|content-language|content-length|content-location|content-range|content-type|cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|link|location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|server|set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate"""
STATIC = [tuple(f.encode() for f in (line + " ").split(" ", 1)) for line in STATIC.split("|")]
STATIC = [(name, value.strip()) for name, value in STATIC]
CODES, code, length = {}, 0, 0
for bits, symbols in HUFFMAN.items():
    code, length = code << (bits - length), bits
    for symbol in symbols:
        CODES[bits, code] = symbol
        code += 1


class Malformed(Exception):
    """The response is malformed, or a header block cannot be decoded."""


def unhuffman(coded):
    out, code, length = bytearray(), 0, 0
    for bit in "".join(f"{byte:08b}" for byte in coded):
        code, length = code << 1 | int(bit), length + 1
        if (length, code) in CODES:
            out.append(CODES[length, code])
            code = length = 0
    if length > 7 or code != (1 << length) - 1:
        raise Malformed("padding")
    return bytes(out)


def integer(b, at, bits):
    n, at, shift = b[at] & (1 << bits) - 1, at + 1, 0
    if n == (1 << bits) - 1:
        while True:
            n, more, at, shift = n + ((b[at] & 127) << shift), b[at] & 128, at + 1, shift + 7
            if not more:
                break
    return n, at


def string(b, at):
    coded = b[at] & 128
    n, at = integer(b, at, 7)
    if coded and not built("9.2"):
        raise Malformed("Huffman")
    return (unhuffman(b[at:at + n]) if coded else bytes(b[at:at + n])), at + n


def decode(b):
    fields, at = [], 0
    while at < len(b):
        if b[at] & 0xe0 == 0x20:  # the size of the table, which has none
            _, at = integer(b, at, 5)
            continue
        whole = b[at] & 0x80
        index, at = integer(b, at, 7 if whole else 6 if b[at] & 0x40 else 4)
        name, value = STATIC[index - 1] if index else (b"", b"")
        if not whole:
            if not index:
                name, at = string(b, at)
            value, at = string(b, at)
        fields.append((name, value))
    return fields


def encode(fields):
    block = b""
    for name, value in fields:
        for text in (name, value):
            n = len(text)
            block += (b"\0" if text is name else b"") + (bytes([n]) if n < 127 else bytes([127, (n - 127) % 128 | 128, (n - 127) // 128])) + text
    return block


# A head without a first line: step 9.3.

HOP_BY_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"transfer-encoding"}


def request_fields(method, target, fields):
    host = next((v for n, v in fields if n == b"host"), b"")
    named = {o.strip().lower() for n, v in fields if n == b"connection" for o in v.split(b",")}
    drop = HOP_BY_HOP | named if built("9.3") else set()
    return [(b":method", method), (b":scheme", b"http"), (b":authority", host), (b":path", target)] + \
        [(n, v) for n, v in fields if n not in drop and n != b"host"]


def check(fields):
    """Returns status and fields of a response, as lines of HTTP/1.1."""
    if not built("9.3"):
        return dict(fields)[b":status"], [(n, v) for n, v in fields if not n.startswith(b":")]
    if not fields or fields[0][0] != b":status" or not re.fullmatch(rb"[1-5]\d\d", fields[0][1]):
        raise Malformed("status")
    for n, v in fields[1:]:
        if not re.fullmatch(rb"[!#$%&'*+\-.^_`|~0-9a-z]+", n) or re.search(rb"[\0-\x08\n-\x1f\x7f]", v) or n in HOP_BY_HOP:
            raise Malformed("field")
    lengths = [v for n, v in fields if n == b"content-length"]
    if len(lengths) > 1 or lengths and not lengths[0].isdigit():
        raise Malformed("length")
    return fields[0][1], fields[1:]


# A lane with streams.

class Ended(Exception):
    """The stream ended without a whole response."""
    def __init__(self, processed=True):
        self.processed = processed


class Stream:
    def __init__(self, lane, number):
        self.lane, self.number, self.events, self.window = lane, number, collections.deque(), lane.first_window
        self.client, self.begun = None, threading.Event()  # until step 9.7 the reader writes to it


class Lane:
    def __init__(self):
        self.sock = socket.create_connection((HOST, PORT), timeout=5)
        self.sock.settimeout(None)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.lock = threading.Condition(threading.RLock())
        self.streams, self.next, self.window, self.first_window, self.limit, self.open = {}, 1, WINDOW, WINDOW, None, True
        self.send(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 1, 0)))
        threading.Thread(target=self.read, daemon=True).start()

    def send(self, b):
        with self.lock:
            try:
                self.sock.sendall(b)
            except OSError:
                pass  # the reader sees the end

    def begin(self, fields, last):
        """Opens a stream, or returns None if the lane takes no more."""
        with self.lock:
            while built("9.5") and self.open and (self.limit is None or len(self.streams) >= self.limit):
                self.lock.wait(WAIT)
            if not self.open:
                return None
            s = self.streams[self.next] = Stream(self, self.next)
            self.next += 2
            self.send(frame(HEADERS, END_HEADERS | (END_STREAM if last else 0), s.number, encode(fields)))
            return s

    def send_body(self, s, body):
        while body:
            with self.lock:
                while built("9.8") and min(self.window, s.window) <= 0 and s.number in self.streams:
                    self.lock.wait(WAIT)
                n = min(len(body), 16384)
                if built("9.8"):
                    n = min(n, self.window, s.window)
                if s.number not in self.streams:
                    return
                self.window, s.window = self.window - n, s.window - n
                self.send(frame(DATA, END_STREAM if n == len(body) else 0, s.number, body[:n]))
            body = body[n:]

    def end(self, s, event):
        with self.lock:
            if self.streams.pop(s.number, None):
                s.events.append(event)
                self.lock.notify_all()

    def cancel(self, s, why):
        with self.lock:
            if self.streams.pop(s.number, None) and built("9.10"):
                self.send(frame(RST_STREAM, 0, s.number, struct.pack(">I", why)))
            self.lock.notify_all()

    def credit(self, s, n):
        if n and built("9.7"):
            self.send(frame(WINDOW_UPDATE, 0, s, struct.pack(">I", n)))

    def read(self):
        try:
            self.read_all(self.sock.makefile("rb"))
        except (OSError, Malformed, IndexError, struct.error):
            pass
        with self.lock:
            self.open = False
            for s in list(self.streams.values()):
                self.end(s, Ended())
            self.lock.notify_all()
        self.sock.close()

    def read_all(self, file):
        block, of = b"", None
        while head := file.read(9):
            length, kind, flags, number = int.from_bytes(head[:3], "big"), head[3], head[4], struct.unpack(">I", head[5:])[0] & 0x7fffffff
            payload = file.read(length)
            s = self.streams.get(number)
            if kind in (DATA, HEADERS) and flags & PADDED:
                payload = payload[1:len(payload) - payload[0]]
            if kind == HEADERS and flags & PRIORITIZED:
                payload = payload[5:]
            if kind == DATA:
                self.credit(0, length)
                if s:
                    self.deliver(s, payload, length)
            elif kind in (HEADERS, CONTINUATION):
                block, of = (payload, flags) if kind == HEADERS else (block + payload, of)
                if not flags & END_HEADERS and built("9.2"):
                    continue
                flags, fields = of, decode(block)
                if s:
                    self.deliver(s, fields, 0)
            elif kind == RST_STREAM and s:
                self.end(s, Ended(struct.unpack(">I", payload)[0] != REFUSED_STREAM))
            elif kind == SETTINGS and not flags & ACK:
                self.settings(payload)
            elif kind == PING and not flags & ACK and built("9.6"):
                self.send(frame(PING, ACK, 0, payload))
            elif kind == GOAWAY:
                self.go_away(struct.unpack(">I", payload[:4])[0])
            elif kind == WINDOW_UPDATE:
                with self.lock:
                    n = struct.unpack(">I", payload)[0]
                    if number == 0:
                        self.window += n
                    elif s:
                        s.window += n
                    self.lock.notify_all()
            if kind in (DATA, HEADERS, CONTINUATION) and flags & END_STREAM and s:
                self.end(s, None)

    def deliver(self, s, what, length):
        if not built("9.7") and s.client and isinstance(what, bytes):  # the obvious design
            s.begun.wait(WAIT)
            try:
                s.client.sendall(what)
            except OSError:
                self.cancel(s, CANCEL)
            what = b""
        with self.lock:
            s.events.append((what, length))
            self.lock.notify_all()

    def settings(self, payload):
        with self.lock:
            self.limit = self.limit or 100
            for i in range(0, len(payload), 6):
                which, value = struct.unpack(">HI", payload[i:i + 6])
                if which == 3:
                    self.limit = value
                elif which == 4:
                    for s in self.streams.values():
                        s.window += value - self.first_window
                    self.first_window = value
            self.send(frame(SETTINGS, ACK, 0))
            self.lock.notify_all()

    def go_away(self, last):
        with self.lock:
            self.open = False
            for s in list(self.streams.values()):
                if not built("9.9"):
                    self.end(s, Ended())
                elif s.number > last:
                    self.end(s, Ended(False))
            self.lock.notify_all()

    def next_event(self, s):
        with self.lock:
            while not s.events:
                if not self.lock.wait(WAIT):
                    raise Ended()
            return s.events.popleft()


lanes, lanes_lock = [], threading.Lock()


def lane():
    """Returns the connection that all clients share: step 9.4."""
    if not built("9.4"):
        return Lane()
    with lanes_lock:
        lanes[:] = [l for l in lanes if l.open]
        if not lanes:
            lanes.append(Lane())
        return lanes[-1]


# The front: one request of HTTP/1.1.

def forward(client, method, target, fields, body):
    for attempt in range(3):
        try:
            l = lane()
        except OSError:
            raise Ended()
        s = l.begin(request_fields(method, target, fields), not body)
        if s is None:
            continue
        s.client = client
        if body:
            l.send_body(s, body)
        try:
            return respond(client, l, s)
        except Ended as e:
            if e.processed or not built("9.9"):
                raise
        except Malformed:
            l.cancel(s, PROTOCOL_ERROR)
            raise Ended()
    raise Ended()


def respond(client, l, s):
    event = l.next_event(s)
    if isinstance(event, Ended):
        raise event
    status, fields = check(event[0] if event else [])
    head = b"HTTP/1.1 %s OK\r\nConnection: close\r\n" % status + b"".join(b"%s: %s\r\n" % f for f in fields) + b"\r\n"
    try:
        client.sendall(head)
        s.begun.set()
        while event := l.next_event(s):
            if isinstance(event, Ended):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            client.sendall(event[0] if isinstance(event[0], bytes) else b"")
            l.credit(s.number, event[1])
    except OSError:  # the client has left: step 9.10
        l.cancel(s, CANCEL)


def serve(client):
    client.settimeout(WAIT)
    received = b""
    try:
        while b"\r\n\r\n" not in received:
            got = client.recv(65536)
            if not got:
                return
            received += got
        head, body = received.split(b"\r\n\r\n", 1)
        first, *lines = head.split(b"\r\n")
        method, target, _ = first.split(b" ", 2)
        fields = [(n.lower(), v.strip()) for n, v in (line.split(b":", 1) for line in lines)]
        length = int(dict(fields).get(b"content-length", 0))
        while len(body) < length:
            body += client.recv(65536)
        client.settimeout(None)
        forward(client, method, target, fields, body)
    except Ended:
        try:
            client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        except OSError:
            pass
    except (OSError, ValueError):
        pass
    finally:
        client.close()


HOST, PORT = re.fullmatch(r"h2c://(.*):(\d+)", os.environ["BACKEND"]).groups()
host, port = os.environ["ADDR"].rsplit(":", 1)
listener = socket.create_server((host, int(port)), backlog=128)
while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
