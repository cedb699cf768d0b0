"""pool_client.py with one change, to judge the judge of clients by. It must accept every
client that is right though unusual, and catch every one that is wrong:

    make judge PART=4 CLIENT='UNUSUAL=half-as-many python3 notes/judged/changed_client.py'
    make judge PART=4 CLIENT='BUG=close-ignored python3 notes/judged/changed_client.py'

`python3 notes/judged/changed_client.py` alone lists them."""
import os, pathlib, sys

# Name: pairs of text of pool_client.py and its replacement.
UNUSUAL = {
    "lower-case-names": ('f"Host: {host}"', 'f"host:{host}"', 'f"Content-Length: {', 'f"content-length:  {'),
    "host-last": ("fields.append(f\"Content-Length", "fields.insert(0, f\"Content-Length"),
    "more-fields": ('fields = [f"Host', 'fields = ["User-Agent: a/1 (b)", "Accept: */*", "X-Empty:", f"Host'),
    "length-0": ("        if body:\n            fields", "        if True:\n            fields"),
    "keep-alive-said": ('fields = [f"Host', 'fields = ["Connection: keep-alive", f"Host'),
    "body-in-chunks": ('f"Content-Length: {len(body)}"', '"Transfer-Encoding: chunked"', 'body = b"body"', r'body = b"2;a=b\r\nbo\r\n2\r\ndy\r\n0\r\nX-Sum: 1\r\n\r\n"'),
    "reads-byte-by-byte": ("got = self.sock.recv(64 << 10)\n        if", "got = self.sock.recv(1)\n        if"),
    "writes-in-pieces": ('''self.sock.sendall("\\r\\n".join([f"{method} {target} HTTP/1.1", *fields, "", ""]).encode() + body)''',
                         '''request = "\\r\\n".join([f"{method} {target} HTTP/1.1", *fields, "", ""]).encode() + body
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(request), 7):
            self.sock.sendall(request[i:i + 7])'''),
    "oldest-first": ("self.idle[address].pop()", "self.idle[address].pop(0)"),
    "half-as-many": ('int(os.environ["CALLERS"]) if', '-(-int(os.environ["CALLERS"]) // 2) + (os.environ["CALLERS"] == "2") if'),
    "prints-at-the-end": ('print(f"{line} {text}\\n", end="", flush=True)', 'sys.stdout.write(f"{line} {text}\\n")'),
    "head-is-not-repeated": ('method == "POST"', 'method != "GET"'),
}

# Name: part, the step that catches it, what the judge says, and pairs as above.
BUGS = {
    "no-connect-timeout": ("2", "2.3", "a connect has a timeout", 'timeout=CONNECT if built("2.3") else None', "timeout=None"),
    "ends-at-a-refusal": ("2", "2.3", "what fails is a line with error", 'text = f"error {error!r}"', 'os.write(1, f"{line} error\\n".encode()), os._exit(1)'),
    "refused-unsaid": ("2", "2.3", "what fails is a line with error", 'text = f"error {error!r}"', "continue"),
    # 6.1
    "no-host": ("4", "6.1", "MUST, RFC 9112 §2.2, §3, §3.2", 'fields = [f"Host: {host}"]', 'fields = ["Accept: */*"]'),
    "host-without-port": ("4", "6.1", "MUST, RFC 9112 §2.2, §3, §3.2", "u.netloc, target", "u.hostname, target"),
    "bare-lf": ("4", "6.1", "MUST, RFC 9112 §2.2, §3, §3.2", '"\\r\\n".join([f"{m', '"\\n".join([f"{m'),
    "query-lost": ("4", "6.1", "MUST, RFC 9112 §2.2, §3, §3.2", '(f"?{u.query}" if u.query else "")', '""'),
    "body-without-length": ("4", "6.1", "MUST, RFC 9112 §2.2, §3, §3.2", "        if body:\n            fields", "        if not body:\n            fields"),
    "one-line-for-all": ("4", "6.1", "a line for each request", 'print(f"{line} {text}\\n", end="", flush=True)', "print(text)"),
    "length-of-the-head-too": ("4", "6.1", "a line for each request", "return status, self.body(method, status, fields)", "return status, self.body(method, status, fields) + len(fields)"),
    # 6.2
    "length-cut-is-whole": ("4", "6.2", "MUST, RFC 9112 §8", 'return len(self.take(int(fields["content-length"])))', '''
            try:
                return len(self.take(int(fields["content-length"])))
            except Failed:
                return len(self.bytes)'''),
    "chunks-cut-are-whole": ("4", "6.2", "MUST, RFC 9112 §8", "        length = 0\n        while size", '''        length = 0
        try:
            return self.all_chunks()
        except (Failed, ValueError):
            return 0

    def all_chunks(self):
        length = 0
        while size'''),
    "head-cut-is-whole": ("4", "6.2", "MUST, RFC 9112 §8", "            self.more()\n        first,", '''            try:
                self.more()
            except Failed:
                return "HTTP/1.1", 200, {"content-length": "0"}
        first,'''),
    "anything-is-http": ("4", "6.2", "MUST, RFC 9112 §8", '            raise Failed("no HTTP")', '            return "HTTP/1.0", 200, {"content-length": "0"}'),
    "interim-is-final": ("4", "6.2", "MUST, RFC 9110 §15.2", 'while built("6.2") and 100 <= status < 200', "while False"),
    "only-100-is-interim": ("4", "6.2", "MUST, RFC 9110 §15.2", "100 <= status < 200", "status == 100"),
    "one-interim-at-a-time": ("4", "6.2", "MUST, RFC 9110 §15.2", 'while built("6.2") and 100', 'if built("6.2") and 100'),
    "chunk-extension-is-size": ("4", "6.2", "MUST, RFC 9112 §6.3", '.split(b";")[0]', ""),
    "chunks-are-the-body": ("4", "6.2", "MUST, RFC 9112 §6.3", '"transfer-encoding" in fields', '"te" in fields'),
    "names-in-their-case": ("4", "6.2", "MUST, RFC 9112 §6.3", "name = name.lower()", "name = name.replace('C', 'c', 1).replace('L', 'l', 1).replace('T', 't', 1).replace('E', 'e', 1) if name[0].isupper() else name.upper()"),
    "no-length-is-no-body": ("4", "6.2", "MUST, RFC 9112 §6.3", "return self.rest()", "return 0"),
    "waits-after-204": ("4", "6.2", "MUST, RFC 9112 §6.3", "status in (204, 304)", "status == 304"),
    "waits-after-304": ("4", "6.2", "MUST, RFC 9112 §6.3", "status in (204, 304)", "status == 204"),
    "waits-after-head": ("4", "6.2", "MUST, RFC 9112 §6.3", 'method == "HEAD" or', ""),
    # 6.3
    "no-response-timeout": ("4", "6.3", "every wait ends", 'settimeout(RESPONSE if built("6.3") else None)', "settimeout(None)"),
    "patience-for-a-head-only": ("4", "6.3", "every wait ends", "        options = [o", "        self.sock.settimeout(None)\n        options = [o"),
    # 6.4
    "new-each-time": ("4", "6.4", "a connection carries request after request", "if not c.kept", "if True"),
    "close-ignored": ("4", "6.4", "MUST NOT, RFC 9112 §9.3, §9.6", '"close" not in options and', ""),
    "close-alone-counts": ("4", "6.4", "MUST NOT, RFC 9112 §9.3, §9.6", '"close" not in options', '"close" != fields.get("connection")'),
    "close-in-its-case": ("4", "6.4", "MUST NOT, RFC 9112 §9.3, §9.6", "o.strip().lower()", "o.strip()"),
    "1.0-is-kept": ("4", "6.4", "MUST NOT, RFC 9112 §9.3, §9.6", 'version == "HTTP/1.1" or', "True or"),
    # 6.5
    "unchecked": ("4", "6.5", "a kept connection is checked", "or c.is_idle()", "or True"),
    "end-unseen": ("4", "6.5", "a kept connection is checked", "not self.bytes and not select.select([self.sock], [], [], 0)[0]", "not self.bytes"),
    "buffer-unseen": ("4", "6.5", "a kept connection is checked", "not self.bytes and not", "not"),
    "408-is-the-response": ("4", "6.5", "a kept connection is checked", "not self.bytes and not select", 'self.bytes.startswith(b"HTTP/1.1 408") or not self.bytes and not select'),
    # 6.6
    "not-repeated": ("4", "6.6", "is sent once more, on a new one", 'if not built("6.6") or', "if True or"),
    "post-repeated": ("4", "6.6", "SHOULD NOT, RFC 9110 §9.2.2", ' or method == "POST"', ""),
    "repeated-for-ever": ("4", "6.6", "a request is sent twice at most", "or c.used == 1 ", ""),
    "once-more-when-new": ("4", "6.6", "a request is sent twice at most", "or c.used == 1 or c.began", "or pool.idle.setdefault(line, 0) > 1 or c.began", "        except (OSError, Failed):\n            c.close()", "        except (OSError, Failed):\n            line = (method, url)\n            pool.idle[line] = pool.idle.get(line, -1) + 1\n            c.close()"),
    # 6.7
    "one-caller": ("4", "6.7", "CALLERS requests are in flight", 'int(os.environ["CALLERS"]) if built("6.7") else 1', "1"),
    "one-request-at-a-time": ("4", "6.7", "CALLERS requests are in flight", 'text = "%d %d" % round_trip(', 'text = "%d %d" % alone(', "\ndef caller(", "\nturn = threading.Lock()\n\n\ndef alone(*request):\n    with turn:\n        return round_trip(*request)\n\n\ndef caller("),
    "a-connection-too-many": ("4", "6.7", "as many connections as callers", "if not self.idle.get(address)", "if len(self.idle.get(address, [])) < 2"),
}


def changed(source, *pairs):
    for old, new in zip(pairs[::2], pairs[1::2]):
        if source.count(old) < 1:
            sys.exit(f"pool_client.py has no {old!r}")
        source = source.replace(old, new)
    return source


bug, unusual = os.environ.get("BUG"), os.environ.get("UNUSUAL")
if bug or unusual:
    file = pathlib.Path(__file__).with_name("pool_client.py")
    pairs = BUGS[bug][3:] if bug else [text for name in unusual.split(",") for text in UNUSUAL[name]]
    exec(compile(changed(file.read_text(), *pairs), f"{bug or unusual} in {file}", "exec"), {"__name__": "__main__"})
else:
    # Several share a walk; two that change the same line are in different ones.
    apart = ("lower-case-names", "writes-in-pieces"), ("keep-alive-said", "host-last"), ("body-in-chunks", "half-as-many"), ("length-0",)
    for walk in [name for name in UNUSUAL if name not in sum(apart, ())], *apart:
        print("unusual", ",".join(walk), "4", sep="\t")
    for name, (part, step, rule, *_) in BUGS.items():
        print("bug", name, part, step, rule, sep="\t")
