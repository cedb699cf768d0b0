"""gateway.py with a change, to judge the judge by. It must accept every gateway that is
right though unusual, also in several ways, and catch every one that is wrong:

    make judge PART=4 SERVER='UNUSUAL=other-via,chunked python3 notes/judged/changed_gateway.py'
    make judge PART=4 SERVER='BUG=no-via python3 notes/judged/changed_gateway.py'

`python3 notes/judged/changed_gateway.py` alone lists them."""
import os, pathlib, sys

# Name: pairs of text of gateway.py and its replacement.
UNUSUAL = {
    "lower-case-names": ('b"%s: %s" % field for', 'b"%s:%s \\t" % (field[0].lower(), field[1]) for'),
    "other-order": (" for field in fields]", " for field in sorted(fields, key=lambda field: field[0].lower())]"),
    "more-fields": ('fields = passing(response, own) + ', 'fields = passing(response, own) + [(b"Via", b"1.1 a"), (b"Server", b"a/1 (b)"), (b"X-Empty", b"")] + '),
    "no-reason": ('response.reason or b""', 'b""'),
    "chunked": ("        pieces = backend.counted(length)\n", "        pieces, length = backend.counted(length), \"chunked\"\n"),
    "chunk-extensions": (r'b"%x\r\n%s\r\n" %', r'b"00%X;a=\"b;\"\r\n%s\r\n" %'),
    "upload-chunked": ("length, whole = request.length, b\"\"", "length, whole = request.length and \"chunked\", b\"\""),
    "chunked-errors": ('(b"Content-Length", b"%d" % len(text))', '(b"Transfer-Encoding", b"chunked")', "if head_only else text)", 'if head_only or not text else chunk(text) + b"0\\r\\n\\r\\n")'),
    "byte-by-byte": ("        self.slots.sock.sendall(piece)", "        for i in range(min(len(piece), 500)):\n            self.slots.sock.sendall(piece[i:i + 1])\n        self.slots.sock.sendall(piece[500:])"),
    "other-via": ("b\"1.%s gateway.py\"", "b\"1.%s gw-1.example:8080 (a b)\""),
    "own-address-alone": ("came + [address.encode()]", "[address.encode()]"),
    "more-of-its-own": ("        fields.append((b\"X-Forwarded-For\"", "        fields += [(b\"X-Real-IP\", address.encode()), (b\"X-Forwarded-Proto\", b\"http\"), (b\"X-Forwarded-Host\", request.host), (b\"Forwarded\", b\"for=127.0.0.1;proto=http\")]\n        fields.append((b\"X-Forwarded-For\""),
    "close-after-post": ("last = request.last or", 'last = request.last or request.method == b"POST" or'),
    "no-reuse-after-post": ('return built("6.4") and', 'return request.method != b"POST" and'),
    "oldest-first": ("kept.pop()", "kept.pop(0)"),
    "no-te": ('    if built("7.7"):\n        fields.append((b"TE"', '    if not "built":\n        fields.append((b"TE"'),
    "200-for-max-forwards": ("raise Failed(204, \"\")", "raise Failed(200, \"here\")", "204: \"No Content\"", "200: \"OK\""),
}

WALKS = 3  # in which all of them are judged

# Name: the step that catches it, what the judge says, and pairs as above.
BUGS = {
    "one-at-a-time": ("7.1", "a client whose response is late delays no other", "        threading.Thread(target=connection, args=(sock, address), daemon=True).start()", "        connection(sock, address)"),
    "target-decoded": ("7.1", "house rule: method, target, Host", "self.method, self.target, self.minor = self.parts", 'self.method, self.target, self.minor = self.parts\n        self.target = self.target.replace(b"%2F", b"/")'),
    "target-normalised": ("7.1", "house rule: method, target, Host", "self.method, self.target, self.minor = self.parts", 'self.method, self.target, self.minor = self.parts\n        self.target = re.sub(rb"/[^/]+/\\.\\./", b"/", self.target)'),
    "slashes-merged": ("7.1", "house rule: method, target, Host", "self.method, self.target, self.minor = self.parts", 'self.method, self.target, self.minor = self.parts\n        self.target = re.sub(rb"//+", b"/", self.target)'),
    "query-lost": ("7.1", "house rule: method, target, Host", "self.method, self.target, self.minor = self.parts", 'self.method, self.target, self.minor = self.parts\n        self.target = self.target.partition(b"?")[0]'),
    "host-of-the-backend": ("7.1", "house rule: method, target, Host", '(b"Host", request.host)', '(b"Host", HOSTNAME.encode())'),
    "a-field-lost": ("7.1", "house rule: method, target, Host", 'b"upgrade"]', 'b"upgrade", b"accept"]'),
    "one-set-cookie": ("7.1", "house rule: method, target, Host", "    fields = passing(response, own)", "    fields = list(dict(passing(response, own)).items())"),
    "status-changed": ("7.1", "house rule: method, target, Host", "        self.status = int(status)", "        self.status = int(status) if int(status) < 500 else 502"),
    "version-of-the-backend": ("7.1", "MUST, RFC 9112 §2.3", 'slot.write(head_of(b"HTTP/1.1 %d %s" % (response.status, response.reason or b""), fields))', 'slot.write(head_of(b"HTTP/1.%s %d %s" % (response.minor, response.status, response.reason or b""), fields))'),
    "503-for-a-refusal": ("7.1", "RFC 9110 §15.6.3", 'raise Failed(502, f"no connection', 'raise Failed(504, f"no connection'),
    "502-for-a-timeout": ("7.1", "RFC 9110 §15.6.5", "raise Failed(504, \"no", "raise Failed(502, \"no"),
    "patience-of-the-kernel": ("7.1", "RFC 9110 §15.6.5", "timeout=1))", "timeout=60))"),
    "no-answer-for-garbage": ("7.1", "RFC 9110 §15.6.3", "        raise Failed(502, f\"the backend's", "        raise Failed(504, f\"the backend's"),
    "endless-head": ("7.1", "RFC 9110 §15.6.3", "if len(self.bytes) > MAX_HEAD:", "if len(self.bytes) > 1 << 30:"),
    "body-after-head": ("7.1", "MUST, RFC 9110 §9.3.2", 'if request.method == b"HEAD" or response', "if response"),
    "head-without-length": ("7.1", "SHOULD, RFC 9110 §9.3.2", '[b"transfer-encoding"] if response', 'FRAMING if response'),
    "body-of-a-304": ("7.1", "house rule: method, target, Host", "in (204, 304)", "in (204, 305)"),
    # Step 7.2
    "response-buffered": ("7.2", "bytes are forwarded as they arrive", '    if not built("7.2"):\n', '    if built("7.2"):\n'),
    "made-whole": ("7.2", "house rule, RFC 9112 §8", "    for piece in pieces:\n        slot.write(chunk(piece) if length", "    def quiet():\n        with contextlib.suppress(EOFError, Invalid):\n            yield from pieces\n    for piece in quiet():\n        slot.write(chunk(piece) if length"),
    "second-status-line": ("7.2", "house rule, RFC 9112 §8", "        if whole:\n", "        if True:\n"),
    "buffer-without-bound": ("7.2", "a client that does not read stops the backend", "    for piece in pieces:\n        slot.write(chunk(piece) if length", "    import queue\n    line = queue.SimpleQueue()\n    def fill():\n        try:\n            [line.put(piece) for piece in pieces]\n            line.put(None)\n        except Exception as error:\n            line.put(error)\n    threading.Thread(target=fill, daemon=True).start()\n    while (piece := line.get()) is not None:\n        if isinstance(piece, Exception):\n            raise piece\n        slot.write(chunk(piece) if length"),
    "chunks-to-1.0": ("7.2", "MUST NOT, RFC 9112 §6.1", 'if length == "chunked" and request.minor == b"0":', 'if length == "none":'),
    "version-of-the-client": ("7.2", "MUST, RFC 9112 §2.3", 'head_of(b"%s %s HTTP/1.1" % (request.method, request.target), fields)', 'head_of(b"%s %s HTTP/1.%s" % (request.method, request.target, request.minor), fields)'),
    # Step 7.3
    "connection-names-host": ("7.3", "MUST, RFC 9112 §6: framing", "fields.insert(0, (b\"Host\", request.host))", "fields[:0] = [(b\"Host\", request.host)][b\"host\" in request.options:]"),
    "connection-names-length": ("7.3", "MUST, RFC 9112 §6: framing", "(framing_fields(length) if built(\"7.3\")", "(framing_fields(length) if b\"content-length\" not in request.options"),
    "two-framings": ("7.3", "MUST, RFC 9112 §6: framing", 'return [(b"Transfer-Encoding", b"chunked")] if', 'return [(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"0")] if'),
    "host-of-the-field": ("7.3", "MUST, RFC 9112 §3.2.2", "            self.host, self.target = absolute[1], self.target", "            self.target = self.target"),
    "two-hosts": ("7.3", "MUST, RFC 9112 §3.2", "len(hosts) > 1 or not hosts", "not hosts", 'b"".join(hosts)', 'b"".join(hosts[:1])'),
    "no-host": ("7.3", "MUST, RFC 9112 §3.2", ' or not hosts and self.minor != b"0"', ""),
    "both-framings": ("7.3", "ambiguous framing", "or lengths or minor", "or minor"),
    "two-lengths": ("7.3", "MUST, RFC 9112 §6.3: two lengths", "len(lengths) > 1 or", "len(lengths) > 2 or"),
    "hidden-coding": ("7.3", "MUST, RFC 9112 §6.3: a coding", '(codings != [b"chunked"] or', '(not codings[-1].endswith(b"chunked") or'),
    "space-before-the-colon": ("7.3", "MUST, RFC 9112 §5.1", 'TOKEN + rb"):([', 'TOKEN + rb")[ \\t]*:(['),
    "lf-is-a-line-end": ("7.3", "ambiguous framing", r'FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)\r\n")', r'FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)\r?\n")'),
    "cr-in-a-value": ("7.3", "house rule, RFC 9112 §2.2", r'FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)\r\n")', r'FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):((?:[\t\x20-\x7e\x80-\xff]|\r(?!\n))*)\r\n")'),
    "cr-in-a-value-of-a-response": ("7.3", "MUST, RFC 9112 §2.2", r'FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)\r\n")', r'FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):((?:[\t\x20-\x7e\x80-\xff]|\r(?!\n))*)\r\n")', "        self.method, self.target, self.minor = self.parts", "        self.method, self.target, self.minor = self.parts\n        if b\"\\r\" in b\"\".join(value for _, value in self.fields):\n            raise Invalid(\"CR\")"),
    "chunked-in-1.0": ("7.3", "house rule, RFC 9112 §6.1", ' or minor == b"0")', ")"),
    "length-with-a-sign": ("7.3", "MUST, RFC 9112 §6.3: a length is digits", r'rb"\d{1,15}", lengths', r'rb"[+-]?\d{1,15}", lengths'),
    "size-with-0x": ("7.3", "house rule, RFC 9112 §7.1", 'rb"([0-9A-Fa-f]{1,15})', 'rb"((?:0x)?[0-9A-Fa-f]{1,15})'),
    "two-lengths-of-a-response": ("7.3", "MUST, RFC 9112 §6.3: a proxy answers 502", "    length, own = response.framing", "    response.fields = list(dict(response.fields).items())\n    length, own = response.framing"),
    "bad-length-of-a-response": ("7.3", "MUST, RFC 9112 §6.3: a proxy answers 502", "    length, own = response.framing", '    response.fields = [(name, value.replace(b"0x", b"")) for name, value in response.fields]\n    length, own = response.framing'),
    "length-beside-chunks": ("7.3", "MUST, RFC 9112 §6.3: a proxy that passes chunks", "or lengths or minor", "or minor", "    fields = passing(response, own)", '    fields = passing(response, [b"transfer-encoding"])', "        self.method, self.target", '        if self.all(b"content-length") and self.all(b"transfer-encoding"):\n            raise Invalid("both")\n        self.method, self.target'),
    "folded": ("7.3", "MUST, RFC 9112 §5.2", r'FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)\r\n")', r'FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):((?:[\t\x20-\x7e\x80-\xff]|\r\n[ \t])*)\r\n")'),
    "unasked-upgrade": ("7.3", "house rule, RFC 9110 §7.8", "if response.status == 101:", "if response.status == 999:"),
    # Step 7.4
    "connection-list": ("7.4", "MUST, RFC 9110 §7.6.1", "HOP_BY_HOP + message.options", "HOP_BY_HOP"),
    "connection-list-of-a-response": ("7.4", "MUST, RFC 9110 §7.6.1", "HOP_BY_HOP + message.options", "HOP_BY_HOP + (message.options if isinstance(message, Request) else [])"),
    "connection-list-in-one-case": ("7.4", "MUST, RFC 9110 §7.6.1", "[option.lower() for option", "[option for option"),
    "last-option-only": ("7.4", "MUST, RFC 9110 §7.6.1", "HOP_BY_HOP + message.options", "HOP_BY_HOP + message.options[-1:]"),
    "keep-alive-passes": ("7.4", "SHOULD, RFC 9110 §7.6.1", ' b"keep-alive",', ""),
    "proxy-connection-passes": ("7.4", "SHOULD, RFC 9110 §7.6.1", ' b"proxy-connection",', ""),
    "te-passes": ("7.4", "SHOULD, RFC 9110 §7.6.1", ' b"te",', ""),
    "upgrade-passes": ("7.4", "SHOULD, RFC 9110 §7.6.1", ', b"upgrade"]', "]"),
    "no-via": ("7.4", "MUST, RFC 9110 §7.6.3", '        fields.append((b"Via", b"1.%s gateway.py" % request.minor))\n', ""),
    "via-replaced": ("7.4", "MUST, RFC 9110 §7.6.3", '        fields.append((b"Via"', '        fields = [field for field in fields if field[0].lower() != b"via"]\n        fields.append((b"Via"'),
    "via-in-front": ("7.4", "MUST, RFC 9110 §7.6.3", '        fields.append((b"Via", b"1.%s gateway.py" % request.minor))\n', '        fields.insert(1, (b"Via", b"1.%s gateway.py" % request.minor))\n'),
    "via-of-its-own-version": ("7.4", "MUST, RFC 9110 §7.6.3", 'b"1.%s gateway.py" % request.minor', 'b"1.1 gateway.py"'),
    "endless-loop": ("7.4", "508", "> 10:", "> 10000:"),
    "max-forwards-copied": ("7.4", "MUST, RFC 9110 §7.6.2", "int(value) - 1", "int(value)"),
    "max-forwards-0-forwarded": ("7.4", "MUST, RFC 9110 §7.6.2", '            raise Failed(204, "")', "            pass", "int(value) - 1", "max(0, int(value) - 1)"),
    "connect-forwarded": ("7.4", "house rule, RFC 9110 §9.3.6", 'if request.method == b"CONNECT"', 'if request.method == b"NONE"'),
    # Step 7.5
    "no-forwarded-for": ("7.5", "X-Forwarded-For ends", "came + [address.encode()]", "came"),
    "forwarded-for-in-front": ("7.5", "X-Forwarded-For ends", "came + [address.encode()]", "[address.encode()] + came"),
    "forwarded-for-named-by-connection": ("7.5", "X-Forwarded-For ends", '        fields.append((b"X-Forwarded-For"', '        if b"x-forwarded-for" not in request.options:\n            fields.append((b"X-Forwarded-For"'),
    "forwarded-host-passes": ("7.5", "house rule: fields from which", "name.lower().startswith(b\"x-forwarded-\")", "name.lower().startswith(b\"x-forwarded-for\")"),
    "real-ip-passes": ("7.5", "house rule: fields from which", 'b"x-real-ip", ', ""),
    "original-url-passes": ("7.5", "house rule: fields from which", 'b"x-original-url", ', ""),
    "proxy-passes": ("7.5", "house rule: fields from which", 'b"proxy", ', ""),
    "underscores-pass": ("7.5", "house rule: fields from which", ' and b"_" not in name', ""),
    "forwarded-continued": ("7.5", "house rule, RFC 7239 §4", ', b"forwarded"]', "]"),
    # Step 7.6
    "upload-of-one-read": ("7.6", "MUST, RFC 9112 §6.3: a body", "            for piece in pieces:\n                self.write", "            for piece in [next(pieces)]:\n                self.write"),
    "upload-buffered": ("7.6", "the pieces of an upload", "            for piece in pieces:\n                self.write", "            for piece in list(pieces):\n                self.write"),
    "upload-then-response": ("7.6", "the pieces of an upload", "            self.thread.start()\n", "            self.thread.start()\n            self.thread.join()\n"),
    "truncated-upload-made-whole": ("7.6", "house rule, RFC 9112 §8", "            self.error = error\n", "            self.error = error\n            self.write(b\"0\\r\\n\\r\\n\" if chunked else b\"x\" * 200000)\n"),
    "continue-of-its-own": ("7.6", "RFC 9110 §10.1.1", 'if not built("7.6") and request.all', "if request.all"),
    "expect-ends-here": ("7.6", "RFC 9110 §10.1.1", 'b"upgrade"]', 'b"upgrade", b"expect"]'),
    "continue-swallowed": ("7.6", "RFC 9110 §10.1.1", "asked = response.status == 100 and", "asked = response.status == 102 and"),
    "early-response-waits": ("7.6", "RFC 9112 §9.5", "        copy(slot, request, response, backend, last)", "        upload.ended(30 if response.status > 400 and not request.all(b\"expect\") else 0)\n        copy(slot, request, response, backend, last)"),
    "early-response-is-502": ("7.6", "RFC 9112 §9.5", "        last = request.last or not body.whole\n", "        last = request.last or not body.whole\n        if not body.whole and response.status > 400 and not request.all(b\"expect\"):\n            raise EOFError\n"),
    # Step 7.7
    "hints-swallowed": ("7.7", "MUST, RFC 9110 §15.2", 'built("7.7") and response.status != 100', "False"),
    "hints-are-the-response": ("7.7", "MUST, RFC 9110 §15.2", "while 100 <= response.status < 200", "while 100 <= response.status < 103"),
    "hints-with-the-response": ("7.7", "MUST, RFC 9110 §15.2", "        while 100 <= response.status < 200:\n", "        late = b\"\"\n        while 100 <= response.status < 200:\n", '                slot.write(head_of(b"HTTP/1.1 %d %s" % (response.status, response.reason or b""), passing(response, FRAMING)))', '                late += head_of(b"HTTP/1.1 %d %s" % (response.status, response.reason or b""), passing(response, FRAMING))', "        copy(slot, request, response", "        slot.write(late)\n        copy(slot, request, response"),
    "hints-to-1.0": ("7.7", "MUST, RFC 9110 §15.2", 'if request.minor != b"0" and (asked', "if (asked"),
    "trailers-dropped": ("7.7", "house rule, RFC 9110 §6.5.1", "asked = built(\"7.7\") and", "asked = built(\"7.7\") and False and"),
    "trailers-unasked": ("7.7", "house rule, RFC 9110 §6.5.1", "b\"trailers\" in request.list(b\"te\")", "True"),
    "any-trailer": ("7.7", "house rule, RFC 9110 §6.5.1", "if asked and field[0].lower() in ALLOWED_TRAILERS", "if asked"),
    "any-trailer-of-a-request": ("7.7", "house rule, RFC 9110 §6.5.1", 'self.write(b"0\\r\\n\\r\\n" if chunked else b"")', 'self.write(head_of(b"0", self.request.trailers) if chunked else b"")', "self.error, self.thread, self.backend = None, None, backend", "self.error, self.thread, self.backend, self.request = None, None, backend, request"),
    # Step 7.9
    "out-of-order": ("7.9", "MUST, RFC 9112", "wait_for(lambda: self.slots.queue[0] is self)", "wait_for(lambda: True)", "self.slots.queue.pop(0)", "self.slots.queue.remove(self)"),
    "one-after-the-other": ("7.9", "safe requests are handled in parallel", 'or not built("7.9")', "or True"),
    "half-close-ends-all": ("7.9", "a half-closed connection still carries responses", "        except (EOFError, OSError):\n            break\n        except", "        except (EOFError, OSError):\n            input.sock.shutdown(socket.SHUT_RDWR)\n            break\n        except"),
    "bad-request-overtakes": ("7.9", "400 in request order", "            slot = slots.add()\n            send_error", "            slot = Slot(slots)\n            slots.queue.insert(0, slot)\n            send_error"),
    "goes-on-after-a-refusal": ("7.9", "400 in request order", "            slot.finish()\n            break", "            slot.finish()\n            continue"),
    "waits-for-the-next-request": ("7.9", "write what is finished before you wait", "        slot = slots.add()\n        if alone", '        while input.bytes[:1] == b"G" and b"\\r\\n\\r\\n" not in input.bytes:\n            input.more()\n        slot = slots.add()\n        if alone'),
    "hints-out-of-order": ("7.9", "MUST, RFC 9112 §9.3.2", '                slot.write(head_of(b"HTTP/1.1 %d', '                slot.slots.sock.sendall(head_of(b"HTTP/1.1 %d'),
    # Steps 6.4 to 6.10
    "connection-for-each-request": ("6.4", "a connection to the backend carries", "        if keep:\n", "        if False:\n"),
    "kept-after-close": ("6.4", "MUST NOT, RFC 9112 §9.6", ' and b"close" not in response.options', ""),
    "kept-after-a-get-with-a-body": ("6.4", "RFC 9112 §11.2", " or request.length not in (None, 0) and request.method not in WITH_BODY", ""),
    "unchecked": ("6.5", "a connection is checked before it is used again", "if is_good(backend) or", "if True or"),
    "never-again": ("6.6", "an idempotent request whose kept connection ends", 'again = built("6.6") and', "again = False and"),
    "get-alone-again": ("6.6", "an idempotent request whose kept connection ends", 'b"OPTIONS", b"PUT", b"DELETE"]\nWITH', 'b"OPTIONS"]\nWITH'),
    "again-without-its-body": ("6.6", "an idempotent request whose kept connection ends", "pieces = [body.begun] if body.begun else []", "pieces = []"),
    "again-on-the-next-kept-one": ("6.6", "a request is sent again on a new connection", "    backend = connect()\n", "    backend = take() or connect()\n"),
    "post-again": ("6.6", "MUST NOT, RFC 9110 §9.2.2", 'REPEATABLE = [', 'REPEATABLE = [b"POST", '),
    "again-and-again": ("6.6", "sent twice at most", '        raise Failed(504 if isinstance(error', '        if not slot.begun and request.method == b"GET":\n            return forward(slot, request, body, address)\n        raise Failed(504 if isinstance(error'),
    "bytes-kept": ("6.10", "MUST NOT, RFC 9112 §9.2", 'if backend.bytes and built("6.10")', 'if backend.bytes and not built("6.10")', 'poisoned = backend.bytes and built("6.10")', "poisoned = False"),
    "bytes-unseen": ("6.10", "MUST NOT, RFC 9112 §9.2", '!= b"" and not built("6.10")', '!= b""'),
}


def changed(source, *pairs):
    for old, new in zip(pairs[::2], pairs[1::2]):
        if source.count(old) < 1:
            sys.exit(f"gateway.py has no {old!r}")
        source = source.replace(old, new)
    return source


bug, unusual = os.environ.get("BUG"), os.environ.get("UNUSUAL")
if bug or unusual:
    file = pathlib.Path(__file__).with_name("gateway.py")
    pairs = BUGS[bug][2:] if bug else [text for name in unusual.split(",") for text in UNUSUAL[name]]
    exec(compile(changed(file.read_text(), *pairs), f"{bug or unusual} in {file}", "exec"), {"__name__": "__main__"})
else:
    for i in range(WALKS):
        print("unusual", ",".join(list(UNUSUAL)[i::WALKS]), "4", sep="\t")
    for name, (step, rule, *_) in BUGS.items():
        print("bug", name, "4", step, rule, sep="\t")
