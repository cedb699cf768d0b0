"""A gateway for part 4 in one file, with a switch for each step: UPTO=7.5 makes it the
program of a reader who has built all up to step 7.5, and nothing after it.

    make judge PART=4 SERVER='UPTO=7.5 python3 notes/judged/gateway.py'

It is written to be read beside chapters 7 and 6, and is not fast: a thread for each
connection, one for each pipelined request, one for each upload. Steps 7.8 and 7.10 are
for several backends and for a bounded pool: it has neither, and the judge asks for
neither."""
import contextlib, os, re, socket, threading, time

STEPS = "7.1 7.2 7.3 7.4 7.5 7.6 7.7 7.8 7.9 7.10 6.4 6.5 6.6 6.10".split()
UPTO = os.environ.get("UPTO", STEPS[-1])


def built(step):
    return STEPS.index(step) <= STEPS.index(UPTO)


# Heads and bodies, in both directions: chapter 3.

MAX_HEAD, PIECE, WAIT = 16 << 10, 16 << 10, 30  # bytes, bytes, seconds
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)\r\n")
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([!-~]+) HTTP/1\.(\d)\r\n")
STATUS_LINE = re.compile(rb"HTTP/1\.(\d) (\d{3})(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
HOST = re.compile(rb"(?:[!$&'()*+,;=\-._~0-9A-Za-z%]*|\[[0-9a-fA-F:.]+\])(?::\d*)?")


class Invalid(Exception):
    """What has arrived is no message, or one of doubtful length."""


class Failed(Exception):
    """A status for the client, and the reason."""


class Input:
    """A connection, and the bytes that have arrived on it and are not used."""
    def __init__(self, sock):
        self.sock, self.bytes = sock, bytearray()
        sock.settimeout(WAIT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def more(self):
        got = self.sock.recv(PIECE)
        if not got:
            raise EOFError
        self.bytes += got

    def take(self, n):
        taken = bytes(self.bytes[:n])
        del self.bytes[:n]
        return taken

    def until(self, end):
        """Returns the bytes up to end, and with it."""
        while end not in self.bytes:
            if len(self.bytes) > MAX_HEAD:
                raise Invalid("the head is too long")
            self.more()
        return self.take(self.bytes.index(end) + len(end))

    def counted(self, left):
        while left:
            if not self.bytes:
                self.more()
            piece = self.take(min(left, PIECE))
            left -= len(piece)
            yield piece

    def chunks(self, trailers):
        """Yields the bytes of a chunked body, of all chunks that are here together, and
        adds what follows the last to trailers."""
        here = b""
        while True:
            if b"\n" not in self.bytes or len(here) >= PIECE:
                yield here
                here = b""
            line = CHUNK_LINE.fullmatch(self.until(b"\n"))
            if not line:
                raise Invalid("a chunk does not begin with its size in hexadecimal")
            size = int(line[1], 16)
            if 0 < size <= len(self.bytes) - 2:
                here += self.take(size)
            else:
                yield here
                here = b""
                yield from self.counted(size)
            if not size:
                break
            if self.until(b"\n") != b"\r\n":
                raise Invalid("a chunk is not as long as its size")
        lines = b""
        while not lines.endswith(b"\r\n\r\n") and lines != b"\r\n":
            lines += self.until(b"\n")
        trailers += parse_fields(lines)

    def to_the_end(self):
        with contextlib.suppress(EOFError):
            while True:
                yield self.take(PIECE)
                self.more()


def parse_fields(lines):
    fields = []
    while lines != b"\r\n":
        line = FIELD_LINE.match(lines)
        if not line:
            raise Invalid("a field line is not name, colon, value")
        fields.append((line[1], line[2].strip(b" \t")))
        lines = lines[line.end():]
    return fields


class Message:
    """A head: the parts of its first line, and its fields."""
    def __init__(self, first_line, head):
        line = first_line.match(head)
        if not line:
            raise Invalid("the first line is not one of HTTP/1.1")
        self.parts, self.fields, self.trailers = line.groups(), parse_fields(head[line.end():]), []
        self.options = [option.lower() for option in self.list(b"connection")]

    def all(self, name):
        return [value for field, value in self.fields if field.lower() == name]

    def list(self, name):
        return [part.strip(b" \t") for part in b",".join(self.all(name)).split(b",") if part.strip(b" \t")]

    def framing(self, minor):
        """Returns the length of the body, "chunked", or None if the head has neither."""
        lengths, codings = self.all(b"content-length"), [coding.lower() for coding in self.all(b"transfer-encoding")]
        if built("7.3") and (len(lengths) > 1 or lengths and not re.fullmatch(rb"\d{1,15}", lengths[0])):
            raise Invalid("Content-Length is not one number")
        if built("7.3") and codings and (codings != [b"chunked"] or lengths or minor == b"0"):
            raise Invalid("Transfer-Encoding is not chunked alone, or stands with a length, or in HTTP/1.0")
        if codings:
            return "chunked"
        return int(re.sub(rb"\D", b"", lengths[-1]) or b"0") if lengths else None


class Request(Message):
    def __init__(self, head):
        super().__init__(REQUEST_LINE, head)
        self.method, self.target, self.minor = self.parts
        self.length = self.framing(self.minor)
        self.last = b"close" in self.options or self.minor == b"0"
        hosts = self.all(b"host")
        if built("7.3") and (len(hosts) > 1 or not hosts and self.minor != b"0" or not all(map(HOST.fullmatch, hosts))):
            raise Invalid("a request has one Host")
        self.host = b"".join(hosts)
        if absolute := re.match(rb"(?i)http://([^/?]*)", self.target):
            self.host, self.target = absolute[1], self.target[absolute.end():]
            if not self.target.startswith(b"/"):
                self.target = b"*" if self.method == b"OPTIONS" and not self.target else b"/" + self.target


class Response(Message):
    def __init__(self, head):
        super().__init__(STATUS_LINE, head)
        self.minor, status, self.reason = self.parts
        self.status = int(status)


class Body:
    """The body of a request, while it arrives from the client."""
    def __init__(self, request, input):
        self.request, self.input, self.begun = request, input, b""
        self.whole = request.length in (None, 0)
        self.pieces = self.read()

    def read(self):
        length = self.request.length
        left = length
        for piece in self.input.chunks(self.request.trailers) if length == "chunked" else self.input.counted(length or 0):
            if length != "chunked":
                left -= len(piece)
                self.whole = left == 0  # before the piece is sent: its response may come at once
            self.begun += piece if len(self.begun) < 64 << 10 else b""
            yield piece
        self.whole = True


# Steps 7.4 and 7.5: which fields pass, and which are the gateway's own.

HOP_BY_HOP = [b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"]
FRAMING = [b"content-length", b"transfer-encoding"]
OURS = [b"x-real-ip", b"x-original-url", b"x-rewrite-url", b"proxy", b"forwarded"]


def passing(message, own):
    """Returns the fields that the next program gets, without those that are in own."""
    end_here = own + (HOP_BY_HOP + message.options if built("7.4") else [])
    return [(name, value) for name, value in message.fields if name.lower() not in end_here]


def request_fields(request, address):
    fields = passing(request, FRAMING + [b"host"] if built("7.3") else [])
    if built("7.3"):
        fields.insert(0, (b"Host", request.host))
    if built("7.4"):
        fields = [(name, value) for name, value in fields if name.lower() != b"max-forwards" or request.method not in FORWARDS]
        fields += [(b"Max-Forwards", b"%d" % (int(value) - 1)) for value in request.all(b"max-forwards") if request.method in FORWARDS]
        fields.append((b"Via", b"1.%s gateway.py" % request.minor))
    if built("7.5"):
        came = [value for name, value in fields if name.lower() == b"x-forwarded-for"]
        fields = [(name, value) for name, value in fields if not name.lower().startswith(b"x-forwarded-") and name.lower() not in OURS and b"_" not in name]
        fields.append((b"X-Forwarded-For", b", ".join(came + [address.encode()])))
    options = [b"close"] if not built("6.4") else []
    if built("7.7"):
        fields.append((b"TE", b"trailers"))
        options.append(b"TE")
    return fields + [(b"Connection", b", ".join(options))] if options and built("7.4") else fields


FORWARDS = [b"OPTIONS", b"TRACE"]


def check(request):
    """Answers here what must not reach the backend, with Failed."""
    if built("7.4"):
        if request.method == b"CONNECT":
            raise Failed(501, "this is no proxy")
        if len(request.list(b"via")) > 10:
            raise Failed(508, "the request is in a loop")
        if request.method in FORWARDS and (request.all(b"max-forwards") or [b""])[0].strip(b"0") == b"" and request.all(b"max-forwards"):
            raise Failed(204, "")
        if any(not value.isdigit() for value in request.all(b"max-forwards")):
            raise Failed(400, "Max-Forwards is not a number")


# Steps 6.4 to 6.10: connections to the backend, and what is kept of them.

HOSTNAME, PORT = os.environ["BACKEND"].removeprefix("http://").rstrip("/").rsplit(":", 1)
kept = []  # the last that came is the first to go
REPEATABLE = [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"]
WITH_BODY = [b"POST", b"PUT", b"PATCH"]


def connect():
    try:
        return Input(socket.create_connection((HOSTNAME, int(PORT)), timeout=1))
    except TimeoutError:
        raise Failed(504, "no connection to the backend came about")
    except OSError as error:
        raise Failed(502, f"no connection to the backend: {error}")


def is_good(backend):
    """Reports whether nothing can be read on an idle connection (6.5)."""
    if backend.bytes and built("6.10"):
        return False
    backend.sock.setblocking(False)
    try:
        return backend.sock.recv(1, socket.MSG_PEEK) != b"" and not built("6.10")
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        backend.sock.settimeout(WAIT)


def take():
    """Returns a connection that is kept, or None."""
    while kept:
        backend = kept.pop()
        if is_good(backend) or not built("6.5"):
            return backend
        backend.sock.close()


def can_be_kept(request, body, response, backend):
    unread = not body.whole or request.length not in (None, 0) and request.method not in WITH_BODY
    poisoned = backend.bytes and built("6.10")
    return built("6.4") and response.minor != b"0" and b"close" not in response.options and not unread and not poisoned


# Steps 7.1, 7.3 and 7.6: a request on its way to the backend.

def head_of(first_line, fields):
    return b"\r\n".join([first_line] + [b"%s: %s" % field for field in fields] + [b"", b""])


def framing_fields(length):
    if length is None:
        return []
    return [(b"Transfer-Encoding", b"chunked")] if length == "chunked" else [(b"Content-Length", b"%d" % length)]


def chunk(piece):
    return b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b""


class Upload:
    """Sends a request. From step 7.6 on its body is sent by a thread of its own."""
    def __init__(self, backend, request, body, address, pieces):
        self.error, self.thread, self.backend = None, None, backend
        length, whole = request.length, b""
        if not built("7.6"):
            whole = b"".join(pieces)
            length = None if length is None else len(whole)
        fields = request_fields(request, address) + (framing_fields(length) if built("7.3") else [])
        backend.sock.sendall(head_of(b"%s %s HTTP/1.1" % (request.method, request.target), fields) + whole)
        if built("7.6") and length not in (None, 0):
            self.thread = threading.Thread(target=self.send, args=(pieces, length == "chunked"), daemon=True)
            self.thread.start()

    def send(self, pieces, chunked):
        try:
            for piece in pieces:
                self.write(chunk(piece) if chunked else piece)
            self.write(b"0\r\n\r\n" if chunked else b"")
        except (OSError, EOFError, Invalid) as error:
            self.error = error
            with contextlib.suppress(OSError):
                self.backend.sock.shutdown(socket.SHUT_RDWR)  # the backend waits for the rest in vain

    def write(self, piece):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its response may be here all the same
            self.backend.sock.sendall(piece)

    def ended(self, seconds):
        """Reports whether all has been sent, and waits so long for it."""
        if self.thread:
            self.thread.join(seconds)
        return not self.thread or not self.thread.is_alive() and not self.error


def forward(slot, request, body, address):
    """Asks the backend and passes its response on; returns whether the client's
    connection can be used again."""
    check(request)
    if not built("7.6") and request.all(b"expect") and not body.whole:
        slot.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    backend, pieces = take(), body.pieces
    if backend:
        try:
            return exchange(slot, request, body, backend, Upload(backend, request, body, address, pieces))
        except (OSError, EOFError):
            backend.sock.close()
            again = built("6.6") and request.method in REPEATABLE and body.whole and len(body.begun) < 64 << 10
            if slot.begun or backend.bytes or not again:
                raise Failed(502, "the connection to the backend ended")
            pieces = [body.begun] if body.begun else []
    backend = connect()
    try:
        return exchange(slot, request, body, backend, Upload(backend, request, body, address, pieces))
    except (OSError, EOFError) as error:
        raise Failed(504 if isinstance(error, TimeoutError) else 502, "the connection to the backend ended")


# Steps 7.2 and 7.7: the response on its way to the client.

def exchange(slot, request, body, backend, upload):
    keep = False
    try:
        response = Response(backend.until(b"\r\n\r\n"))
        while 100 <= response.status < 200:
            if response.status == 101:
                raise Failed(502, "the backend switches to a protocol that no client asked for")
            asked = response.status == 100 and built("7.6") and request.all(b"expect")
            if request.minor != b"0" and (asked or built("7.7") and response.status != 100):
                slot.write(head_of(b"HTTP/1.1 %d %s" % (response.status, response.reason or b""), passing(response, FRAMING)))
            response = Response(backend.until(b"\r\n\r\n"))
        last = request.last or not body.whole
        copy(slot, request, response, backend, last)
        keep = can_be_kept(request, body, response, backend) and upload.ended(1)
        return not last
    except Invalid as error:
        raise Failed(502, f"the backend's response is invalid: {error}")
    except (OSError, EOFError):
        if isinstance(upload.error, Invalid):
            raise Failed(400, str(upload.error))
        raise
    finally:
        if keep:
            kept.append(backend)
        else:
            with contextlib.suppress(OSError):
                backend.sock.shutdown(socket.SHUT_RDWR)  # ends an upload, too
            backend.sock.close()


ALLOWED_TRAILERS = [b"etag", b"digest", b"content-digest", b"server-timing"]


def copy(slot, request, response, backend, last):
    length, own = response.framing(response.minor), FRAMING
    if request.method == b"HEAD" or response.status in (204, 304):
        length, own, pieces = None, [b"transfer-encoding"] if response.status != 204 else FRAMING, []
    elif length == "chunked":
        pieces = backend.chunks(response.trailers)
    elif length is None:
        pieces, length = backend.to_the_end(), "chunked"
    else:
        pieces = backend.counted(length)
    if not built("7.2"):
        pieces = [b"".join(pieces)]
        length = len(pieces[0]) if length is not None else None
    if length == "chunked" and request.minor == b"0":
        length = None  # the end of the connection is the end of the body
    fields = passing(response, own) + framing_fields(length) + ([(b"Connection", b"close")] if last else [])
    slot.write(head_of(b"HTTP/1.1 %d %s" % (response.status, response.reason or b""), fields))
    for piece in pieces:
        slot.write(chunk(piece) if length == "chunked" else piece)
    if length == "chunked":
        asked = built("7.7") and b"trailers" in request.list(b"te")
        trailers = [field for field in response.trailers if asked and field[0].lower() in ALLOWED_TRAILERS]
        slot.write(head_of(b"0", trailers))


# Steps 7.1 and 7.9: clients, and their responses in the order of the requests.

class Slots:
    """The responses that a client waits for, in the order of its requests."""
    def __init__(self, sock):
        self.sock, self.queue, self.changed = sock, [], threading.Condition()

    def add(self):
        with self.changed:
            self.changed.wait_for(lambda: len(self.queue) < 32)
            self.queue.append(Slot(self))
            return self.queue[-1]

    def wait_until_empty(self):
        with self.changed:
            self.changed.wait_for(lambda: not self.queue)


class Slot:
    """The place of one response: its thread waits with the first byte until all before
    it have left, so that no response is buffered."""
    def __init__(self, slots):
        self.slots, self.begun = slots, False  # begun: a byte of the final response may be sent

    def wait(self):
        with self.slots.changed:
            self.slots.changed.wait_for(lambda: self.slots.queue[0] is self)

    def write(self, piece):
        self.wait()
        self.begun = self.begun or not piece.startswith(b"HTTP/1.1 1")
        self.slots.sock.sendall(piece)

    def finish(self, whole=True):
        self.wait()
        if not whole:  # what the client has must not look complete
            with contextlib.suppress(OSError):
                self.slots.sock.shutdown(socket.SHUT_WR)
        with self.slots.changed:
            self.slots.queue.pop(0)
            self.slots.changed.notify_all()


REASONS = {204: "No Content", 400: "Bad Request", 501: "Not Implemented", 502: "Bad Gateway", 504: "Gateway Timeout", 508: "Loop Detected"}


def send_error(slot, head_only, last, status, reason):
    text = f"{status} {REASONS[status]}: {reason}\n".encode() if status != 204 else b""
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode()
    fields = [(b"Date", date)] + ([(b"Content-Type", b"text/plain"), (b"Content-Length", b"%d" % len(text))] if text else [])
    fields += [(b"Connection", b"close")] if last else []
    slot.write(head_of(f"HTTP/1.1 {status} {REASONS[status]}".encode(), fields) + (b"" if head_only else text))


def respond(slot, request, body, address):
    """Fills a slot, and returns whether the client's connection can be used again."""
    goes_on = whole = True
    try:
        goes_on = forward(slot, request, body, address)
    except (Failed, Invalid, EOFError) as error:
        status, reason = error.args if isinstance(error, Failed) else (400, str(error))
        goes_on, whole = not slot.begun and body.whole and not request.last, not slot.begun
        if whole:
            with contextlib.suppress(OSError):
                send_error(slot, request.method == b"HEAD", not goes_on, status, reason)
    except OSError:  # the client is gone
        goes_on = whole = False
    slot.finish(whole)
    return goes_on


def serve(input, address):
    slots, goes_on = Slots(input.sock), True
    while goes_on:
        try:
            while (input.bytes or input.more() or input.bytes).startswith(b"\r\n"):
                input.take(2)
            request = Request(input.until(b"\r\n\r\n"))
        except (EOFError, OSError):
            break
        except Invalid as error:
            slot = slots.add()
            send_error(slot, False, True, 400, str(error))
            slot.finish()
            break
        body = Body(request, input)
        alone = request.method not in (b"GET", b"HEAD", b"OPTIONS") or not body.whole or not built("7.9")
        if alone:
            slots.wait_until_empty()
        slot = slots.add()
        if alone:
            goes_on = respond(slot, request, body, address)
        else:
            threading.Thread(target=respond, args=(slot, request, body, address), daemon=True).start()
            goes_on = not request.last
    slots.wait_until_empty()


def linger(sock):
    """Reads until the client has closed, so that the close resets nothing."""
    sock.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + 2
    while (left := deadline - time.monotonic()) > 0:
        sock.settimeout(left)
        if not sock.recv(1 << 16):
            return


def connection(sock, address):
    try:
        serve(Input(sock), address)
        linger(sock)
        sock.shutdown(socket.SHUT_RD)  # ends an upload that still reads
    except OSError:
        pass
    finally:
        sock.close()


def main():
    host, port = os.environ["ADDR"].rsplit(":", 1)
    listener = socket.create_server((host, int(port)), backlog=128)
    while True:
        sock, (address, _) = listener.accept()
        threading.Thread(target=connection, args=(sock, address), daemon=True).start()


main()
