"""reference.py with one change, to judge the judge by. It must accept every server
that is right though unusual, and catch every one that is wrong:

    make judge PART=3 SERVER='UNUSUAL=allow-order python3 notes/judged/changed.py'
    make judge PART=3 SERVER='UNUSUAL=no-reason,trailers python3 notes/judged/changed.py'
    make judge PART=3 SERVER='BUG=two-hosts python3 notes/judged/changed.py'

`python3 notes/judged/changed.py` alone lists them."""
import os, pathlib, sys

# Name: the parts that it is for, and pairs of text of reference.py and its replacement.
UNUSUAL = {
    "allow-order": ("3", "GET, HEAD, POST, PUT, OPTIONS", "OPTIONS,PUT,POST,HEAD,GET", "GET, HEAD, OPTIONS", "OPTIONS, HEAD, GET", "POST, PUT, OPTIONS", "OPTIONS, PUT, POST"),
    "lower-case-names": ("13", 'f"{name}: {value}"', 'f"{name.lower()}:{value}  "', 'f"Date: {', 'f"date:{', "Content-Length: {len", "content-length:{len"),
    "more-fields": ("13", 'fields = f"Date', 'fields = f"Server: a/1 (b)\\r\\nVary:\\r\\nX-Empty:\\r\\nDate', '{"Date": date()}', '{"Server": "a", "X-Empty": "", "Date": date()}'),
    "no-reason": ("13", " {REASONS[self.status]}\"]", " \"]", "HTTP/1.1 {status}", "HTTP/1.1 {status[:4]}"),
    "byte-by-byte": ("3", "self.sock.sendall(parked[:64 << 10])", "[self.sock.sendall(parked[i:i + 1]) for i in range(min(len(parked), 2000))] and self.sock.sendall(parked[2000:64 << 10])"),
    "chunk-extensions": ("3", r'b"%x\r\n%s\r\n" %', r'b"%X ; a = \"b;\"\r\n%s\r\n" %', r'last = b"0\r\n', r'last = b"000;last\r\n'),
    "trailers": ("3", r'last = b"0\r\n\r\n"', r'last = b"0\r\nDigest: x\r\nX-Way: y\r\n\r\n"'),
    "chunked": ("3", "        head = b\"\" if self.framing else self.head()\n", "        if self.status == 200 and not self.old:\n            self.flush()\n        head = b\"\" if self.framing else self.head()\n"),
    "half-a-body-is-refused-silently": ("3", "    except Refused as error:\n", "    except Refused as error:\n        if \"ended\" in error.args[1]:\n            response.close, response.framing, response.head_only = True, \"to the end\", True\n"),
    "waits-for-the-end-of-a-head": ("3", "            check_start(self.bytes[:MAX_HEAD])\n", ""),
    "sixty-four-slots": ("3", "MAX_SLOTS, MAX_PARKED = 32, 64 << 10", "MAX_SLOTS, MAX_PARKED = 64, 1 << 20"),
    "empty-lines-are-a-head": ("3", "                if (empty := empty + 1) > 2:", "                if (empty := empty + 1) > MAX_HEAD / 2:"),
    "body-of-twelve-mebibytes": ("3", "8 << 20\n", "12 << 20\n"),
    "silent-after-the-limit": ("3", "                raise Refused(408, \"the request did not arrive in time\")", "                raise Closed"),
    "says-408-to-silence": ("1", "        got = sock.recv(4096)\n", "        try:\n            got = sock.recv(4096)\n        except TimeoutError:\n            return sock.sendall(b\"HTTP/1.1 408 Request Timeout\\r\\nConnection: close\\r\\n\\r\\n\")\n"),
    "closes-half-a-head-silently": ("1", "    if len(head) > 8 << 10 and", "    if len(head) <= 8 << 10 and status[:3] == \"400\":\n        return\n    if len(head) > 8 << 10 and"),
    "reads-little": ("3", "        got = self.sock.recv(32 << 10)\n", "        got = self.sock.recv(64 if between else 32 << 10)\n"),
    "close-after-post": ("3", "response.close = not", 'response.close = request.method == b"POST" or not'),
}

# Name: part, the step that catches it, what the judge says, and pairs as above.
BUGS = {
    # Part 1
    "bare-lf": ("1", "1.4", "MUST, RFC 9112 §2.1", r'{fields}\r\n"', r'{fields}\n"'),
    "length-too-small": ("1", "1.4", "MUST, RFC 9110 §8.6", "{len(body)}", "{len(body) - 1}"),
    "length-too-large": ("1", "1.4", "MUST, RFC 9110 §8.6", "{len(body)}", "{len(body) + 1}"),
    "no-length": ("1", "1.4", "MUST, RFC 9110 §8.6", r"Content-Length: {len(body)}\r\n", ""),
    "status-line": ("1", "1.4", "want \"HTTP/1.1 200 \"", "HTTP/1.1 {status}", "HTTP/1.1  {status}"),
    "space-before-colon": ("1", "1.4", "MUST, RFC 9112 §5", "Content-Type:", "Content-Type :"),
    "wrong-body": ("1", "1.4", "the contract: this is the body", r'b"Hello, World!\n" if', r'b"Hello, World\n" if'),
    "no-date": ("1", "1.4", "§6.6.1", r"Date: {date()}\r\n", ""),
    "local-date": ("1", "1.4", "MUST, RFC 9110 §5.6.7", "Date: {date()}", "Date: {time.asctime()}"),
    "date-of-the-start-of-part-1": ("1", "1.4", "§6.6.1", "def date():", "STARTED = time.gmtime()\n\n\ndef date():", "time.gmtime())", "STARTED)"),
    "any-version": ("1", "1.4", "SHOULD, RFC 9112 §3", "not REQUEST_LINE.match(head)", "len(head.split(b\"\\r\\n\")[0].split(b\" \")) != 3"),
    "error-to-a-head-with-a-body": ("1", "1.4", "RFC 9110 §9.3.2", 'head.startswith(b"HEAD ") else body', 'head.startswith(b"HEAD ") and status < "400" else body'),
    "body-after-head": ("1", "1.4", "MUST NOT, RFC 9110 §9.3.2", 'b"" if built("1.4") and head.startswith(b"HEAD ") else body', "body"),
    "never-closes": ("1", "1.4", "the server still holds the connection open", "        (serve if", "        serve_once(sock), time.sleep(60)\n        (serve if"),
    "close-unsaid": ("1", "1.4", "SHOULD, RFC 9112 §9.6", r"{len(body)}\r\nConnection: close", "{len(body)}"),
    "half-close-is-an-end": ("1", "1.3", "who sends no more can still listen", "    if not head:", "    time.sleep(0.02)\n    if select.select([sock], [], [], 0)[0] and not sock.recv(1, socket.MSG_PEEK):\n        return\n    if not head:", "import contextlib,", "import contextlib, select,"),
    "line-is-a-head": ("1", "1.3", "a head ends at an empty line", r'and b"\r\n\r\n" not in head[', r'and b"\r\n" not in head['),
    "lingers-for-ever": ("1", "1.5", "house rule: lingering has a limit", "deadline = time.monotonic() + 2", "deadline = time.monotonic() + 60"),
    "each-read-lingers": ("1", "1.5", "for all of it, not for each read", "    while (left := deadline - time.monotonic()) > 0:", "    while left := 2:"),
    "no-stop": ("1", "1.6", "house rule: a stop answers the clients that had connected", '    if built("1.6"):\n', '    if built("9.9"):\n'),
    "closes-the-queue": ("1", "1.6", "house rule: a stop answers the clients that had connected", "        try:\n            sock, _ = listener", "        if stops():\n            break\n        try:\n            sock, _ = listener"),
    "no-reuse": ("1", "1.6", "set SO_REUSEADDR before bind", "listener = socket.create_server((host, int(port)), backlog=128)", "listener = socket.socket()\n    listener.bind((host, int(port)))\n    listener.listen(128)"),
    "stops-with-status-1": ("1", "1.6", "house rule: after SIGTERM a server answers", "        time.sleep(0.01)\n\n\nmain()", "        time.sleep(0.01)\n    sys.exit(1)\n\n\nmain()", "import contextlib,", "import contextlib, sys,"),
    "does-not-end": ("1", "1.6", "house rule: after SIGTERM a server answers", "        time.sleep(0.01)\n\n\nmain()", "        time.sleep(0.01)\n    time.sleep(60)\n\n\nmain()"),
    "head-without-end": ("1", "1.3", "bounded everything", 'built("1.3") and len(head)', "len(head) < 0 and len(head)"),
    "each-read-has-the-limit": ("1", "1.3", "the time is for the whole head", "        sock.settimeout(max(0.001, deadline - time.monotonic()) if", "        sock.settimeout(5 if"),
    "half-a-head-is-answered": ("1", "1.3", "house rule, RFC 9112 §8", 'if b"\\r\\n\\r\\n" in head or not', 'if len(head) <= 8 << 10 or not'),
    "ends-with-a-client": ("1", "1.2", "one client", '        if not built("1.2"):\n            raise', "        raise"),
    "close-with-bytes-unread": ("1", "1.5", "sends RST", '        if built("1.5"):\n', '        if built("9.9"):\n'),
    # Step 3.1
    "bare-lf-kept": ("3", "3.1", "MUST, RFC 9112 §2.1", r'"\r\n".join(', r'"\n".join('),
    "wrong-length": ("3", "3.1", "MUST, RFC 9110 §8.6", '= len(self.body)', '= len(self.body) + 1'),
    "no-date-kept": ("3", "3.1", "MUST, RFC 9110 §6.6.1", '{"Date": date()}', "{}"),
    "date-of-the-start": ("3", "3.1", "MUST, RFC 9110 §6.6.1", "def date():", "STARTED = time.gmtime()\n\n\ndef date():", "time.gmtime())", "STARTED)"),
    "date-of-ten-seconds": ("3", "3.1", "MUST, RFC 9110 §6.6.1", "time.gmtime())", "time.gmtime(time.time() // 10 * 10))"),
    "close-ignored": ("3", "3.1", "Connection", 'b"close" not in self.options and', ""),
    "close-unsaid-kept": ("3", "3.1", "SHOULD, RFC 9112 §9.6", '"close" if self.close else', '"te" if self.close else'),
    "close-always": ("3", "3.1", "answer 2 of 2", "        last = not request.persists()", "        request.options = [b\"close\"]\n        last = True"),
    "buffer-dropped": ("3", "3.1", "answer 2 of 2", "return self.take(end)", "return [self.take(end), self.take(len(self.bytes))][0]"),
    "one-read-is-a-head": ("3", "3.1", "MUST, RFC 9112 §2.2", "            end = self.bytes.find(b\"\\r\\n\\r\\n\") + 4\n", "            end = self.bytes.find(b\"\\r\\n\\r\\n\") + 4\n            if self.bytes and end < 4:\n                raise Refused(400, \"no\")\n"),
    "answers-the-request-before": ("3", "3.1", "MUST, RFC 9112 §9.3: a connection persists", "            request = Request(head)\n", "            request = Request(head)\n            if request.persists() and not input.bytes:\n                input.more()\n"),
    "half-a-head-is-whole": ("3", "3.1", "house rule, RFC 9112 §8", "                self.more(deadline, between=True)\n", "                self.more(deadline, between=True)\n            except Closed:\n                if not self.bytes:\n                    raise\n                self.bytes = b\"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n\"\n"),
    "half-close-unnoticed": ("3", "3.1", "house rule, RFC 9112 §8", "            raise Closed\n        self.bytes += got", "            time.sleep(60)\n        self.bytes += got"),
    # Step 3.2
    "one-at-a-time": ("3", "3.2", "house rule: a client that is silent", '        if built("3.2"):', '        if built("9.9"):'),
    "ends-with-a-client-kept": ("3", "3.2", "one client", "    except OSError:\n        if not built(\"1.2\"):", "    except OSError:\n        os._exit(1)\n        if not built(\"1.2\"):"),
    # Step 3.3
    "spaces": ("3", "3.3", "house rule, RFC 9112 §3", 'rb") (" + TARGET', 'rb") +(" + TARGET'),
    "tab": ("3", "3.3", "house rule, RFC 9112 §3", 'rb") (" + TARGET', 'rb")[ \\t](" + TARGET'),
    "space-after-version": ("3", "3.3", "house rule, RFC 9112 §3", r'(\d)\.(\d)\r\n', r'(\d)\.(\d) ?\r\n'),
    "version-in-any-case": ("3", "3.3", "SHOULD, RFC 9112 §3", r' HTTP/(\d)\.(\d)\r\n")', r' HTTP/(\d)\.(\d)\r\n", re.I)'),
    "version-2": ("3", "3.3", "house rule, RFC 9110 §15.6.6", 'if major != b"1"', 'if major == b"9"'),
    "version-1.7": ("3", "3.3", "SHOULD, RFC 9110 §2.5", 'if major != b"1"', 'if major != b"1" or minor > b"1"'),
    "connect": ("3", "3.3", "house rule, RFC 9110 §9.3.6", ' or self.method == b"CONNECT"', ""),
    "method-in-any-case": ("3", "3.3", "SHOULD, RFC 9110 §9.1", "method = request.method.decode()", "method = (request := request.upper()).method.decode()", "    def persists(self)", "    def upper(self):\n        self.method = self.method.upper()\n        return self\n\n    def persists(self)"),
    "unknown-method": ("3", "3.3", "SHOULD, RFC 9110 §9.1", 'response.error(501, "the method is not known")', 'response.error(405, "no")'),
    "empty-line": ("3", "3.3", "SHOULD, RFC 9112 §2.2", ") > 2:", ") > 0:"),
    "short-target": ("3", "3.3", "SHOULD, RFC 9112 §3", "MAX_BODY = 16 << 10", "MAX_BODY = 4 << 10"),
    "long-method": ("3", "3.3", "SHOULD, RFC 9112 §3", "return Refused(501, \"the method is too", "return Refused(431, \"the method is too"),
    "goes-on-after-a-refusal": ("3", "3.3", "after a refusal the connection closes", "            respond(slot, None, refused, None, (head or input.bytes).startswith(b\"HEAD \"))\n            break", "            respond(slot, None, refused, None, False)\n            continue"),
    "any-number-of-empty-lines": ("3", "3.3", "house rule, RFC 9112 §2.2", ") > 2:", ") > 1 << 30:"),
    "close-unsaid-after-a-refusal": ("3", "3.3", "SHOULD, RFC 9112 §9.6", "        if self.close or self.old:", "        if (self.close or self.old) and self.status != 400:"),
    # Step 3.4
    "no-host": ("3", "3.4", "MUST, RFC 9112 §3.2", "or not hosts and self.minor ", ""),
    "two-hosts": ("3", "3.4", "MUST, RFC 9112 §3.2", "len(hosts) > 1", "len(hosts) > 2"),
    "two-hosts-in-1.0": ("3", "3.4", "house rule, RFC 9112 §3.2", "len(hosts) > 1", "len(hosts) > 1 and self.minor"),
    "any-host": ("3", "3.4", "MUST, RFC 9112 §3.2", " or any(not HOST.match(host) for host in hosts)", ""),
    "any-port": ("3", "3.4", "MUST, RFC 9112 §3.2", r'(?::\d*)?\Z', r'(?::\w*)?\Z'),
    "empty-host": ("3", "3.4", "MUST, RFC 9112 §3.2", "not HOST.match(host) for", "not host or not HOST.match(host) for"),
    "host-with-at": ("3", "3.4", "MUST, RFC 9112 §3.2", r"[!$&'()*+,;=\-._~0-9A-Za-z]|", r"[@!$&'()*+,;=\-._~0-9A-Za-z]|"),
    "host-list": ("3", "3.4", "MUST, RFC 9112 §3.2", r"[!$&'()*+,;=\-._~0-9A-Za-z]|", r"[ !$&'()*+,;=\-._~0-9A-Za-z]|"),
    "host-half-escape": ("3", "3.4", "MUST, RFC 9112 §3.2", r"%[0-9A-Fa-f]{2})*", r"%[0-9A-Fa-f]{1,2})*"),
    "space-before-the-colon": ("3", "3.4", "MUST, RFC 9112 §5.1", 'TOKEN + rb"):([', 'TOKEN + rb")[ \\t]*:(['),
    "no-name": ("3", "3.4", "SHOULD, RFC 9112 §2.2", 'FIELD_LINE = re.compile(rb"(" + TOKEN + rb")', 'FIELD_LINE = re.compile(rb"(" + TOKEN + rb"|)'),
    "no-colon": ("3", "3.4", "SHOULD, RFC 9112 §2.2", 'TOKEN + rb"):([', 'TOKEN + rb"):?(['),
    "folded": ("3", "3.4", "house rule, RFC 9112 §5.2", "    fields = []\n", "    fields, lines = [], re.sub(rb\"(?<=.)\\r\\n[ \\t]+\", b\" \", lines)\n"),
    "line-before-the-first-field": ("3", "3.4", "MUST, RFC 9112 §2.2", "    fields = []\n", "    fields, lines = [], lines.lstrip(b\" \")\n"),
    "lf-is-a-line-end": ("3", "3.4", "house rule, RFC 9112 §2.2", "            end = self.bytes", "            self.bytes = re.sub(rb\"(?<!\\r)\\n\", b\"\\r\\n\", self.bytes)\n            end = self.bytes"),
    "cr-in-a-value": ("3", "3.4", "house rule, RFC 9112 §2.2", r'([\t\x20-', r'((?:\r(?!\n)|[\t\x20-', r'\x80-\xff]*)\r\n")', r'\x80-\xff])*)\r\n")'),
    "nul-in-a-value": ("3", "3.4", "house rule, RFC 9110 §5.5", r'([\t\x20-', r'([\0\t\x20-'),
    "one-option": ("3", "3.4", "MUST, RFC 9112 §9.6", "for option in value.lower().split(b\",\")]", "for option in [value.lower()]]"),
    "first-line-of-options": ("3", "3.4", "MUST, RFC 9112 §9.6", "for value in self.all(b\"connection\") for", "for value in self.all(b\"connection\")[:1] for"),
    "options-in-lower-case": ("3", "3.4", "MUST, RFC 9112 §9.6", "in value.lower().split", "in value.split"),
    "options-with-blanks": ("3", "3.4", "MUST, RFC 9112 §9.6", "[option.strip() for", "[option for"),
    "served-after-close": ("3", "3.4", "MUST, RFC 9112 §9.6", "        last = not request.persists()", "        last = not request.persists() and b\"te\" not in request.options"),
    # Step 3.5
    "any-byte-in-a-target": ("3", "3.5", "SHOULD, RFC 9112 §3", r'if built("3.5") else', r'if built("9.9") else'),
    "relative-target": ("3", "3.5", "SHOULD, RFC 9112 §3", 'elif target[:1] != b"/" and', 'elif target == b"*" and'),
    "star-for-get": ("3", "3.5", "SHOULD, RFC 9112 §3", '(target != b"*" or self.method != b"OPTIONS")', 'target != b"*"'),
    "https": ("3", "3.5", "MUST, RFC 9110 §7.4", "raise Refused(421,", "raise Refused(400,"),
    "query-in-the-path": ("3", "3.3", "request lines of 8,000 bytes are served", 'target.partition(b"?")[0]', "target"),
    "no-absolute-target": ("3", "3.5", "MUST, RFC 9112 §3.2.2", 'if target[:7].lower() == b"http://"', 'if target[:7] == b"ftp://"'),
    "empty-path": ("3", "3.5", "house rule, RFC 9110 §4.2.3", '            target = target[7 + len(self.host):]', '            target = target[7 + len(self.host):]\n            if not target:\n                raise Refused(400, "no")'),
    "absolute-without-a-host": ("3", "3.5", "MUST, RFC 9110 §4.2.1", "if not self.host or not HOST.match(self.host)", "if not HOST.match(self.host)"),
    "user-in-a-target": ("3", "3.5", "SHOULD, RFC 9110 §4.2.4", "if not self.host or not HOST.match(self.host)", "if not self.host"),
    "host-of-the-target-is-enough": ("3", "3.5", "MUST, RFC 9112 §3.2", "or not hosts and self.minor", "or not hosts and self.minor and not self.host"),
    "host-of-the-target-excuses-another": ("3", "3.5", "house rule, RFC 9112 §3.2", "or any(not HOST", "or not self.host and any(not HOST"),
    "hosts-beside-a-target": ("3", "3.5", "house rule, RFC 9112 §3.2", "len(hosts) > 1", "not self.host and len(hosts) > 1"),
    # Step 3.6
    "everything-is-hello": ("3", "3.6", "house rule: the routes", "    elif not found:\n        response.error(404, \"nothing is there\")", "    elif not found:\n        hello(response, request, body, b\"\")"),
    "no-allow": ("3", "3.6", "MUST, RFC 9110 §15.5.6", '"the method is not allowed", Allow=allow', '"the method is not allowed"'),
    "allow-without-put": ("3", "3.6", "house rule", '"POST, PUT, OPTIONS"', '"POST, OPTIONS"'),
    "no-options": ("3", "3.6", "house rule", 'if method == "OPTIONS":\n', 'if method == "NONE":\n'),
    "long-sleep": ("3", "3.6", "house rule: the routes", "seconds is None or seconds > 60", "seconds is None or seconds > 600"),
    "no-content-type": ("3", "3.6", "SHOULD, RFC 9110 §8.3", 'slot, 200, {"Content-Type": "text/plain"}', "slot, 200, {}"),
    "204-with-a-length": ("3", "3.6", "MUST NOT, RFC 9110 §8.6", "elif not self.framing and self.status != 204:", "elif not self.framing:"),
    # Step 3.7
    "body-of-one-read": ("3", "3.7", "MUST, RFC 9112 §6 and §7.1", 'b"".join(body.read())\n', 'next(body.read(), b"")\n'),
    "body-unread": ("3", "3.7", "MUST, RFC 9112 §9.3", "response.close = not body.skip() or", "response.close = not body.whole and not built(\"1.1\") or"),
    "truncated-body": ("3", "3.7", "RFC 9112 §8", "            raise Refused(400, \"the body ended before its end\")", "            self.input.bytes = b\"\"", "            if not self.input.bytes:\n                self.more()\n            piece", "            if not self.input.bytes:\n                self.more()\n            if not self.input.bytes:\n                return\n            piece"),
    "body-of-a-get-unread": ("3", "3.7", "MUST, RFC 9112 §6 and §9.3", "        self.length = int(lengths[0]) if lengths else 0", "        self.length = int(lengths[0]) if lengths and self.method not in SAFE else 0"),
    "two-lengths": ("3", "3.7", "house rule, RFC 9112 §6.3", "len(lengths) > 1 or", "len(lengths) > 2 or"),
    "a-list-of-lengths": ("3", "3.7", "house rule, RFC 9112 §6.3", "lengths = self.all(b\"content-length\")", "lengths = [value.split(b\",\")[0] for value in self.all(b\"content-length\")]"),
    "length-with-a-sign": ("3", "3.7", "MUST, RFC 9112 §6.3", r'rb"\d+", lengths', r'rb"[+-]?\d+", lengths'),
    "length-in-hexadecimal": ("3", "3.7", "MUST, RFC 9112 §6.3", r'rb"\d+", lengths', r'rb"\d+|0x\d+", lengths', "int(lengths[0])", 'int(lengths[0], 16 if lengths[0][:2] == b"0x" else 10)'),
    "empty-length": ("3", "3.7", "MUST, RFC 9112 §6.3", r'rb"\d+", lengths', r'rb"\d*", lengths', "int(lengths[0])", 'int(lengths[0] or b"0")'),
    "length-overflows": ("3", "3.7", "house rule, RFC 9110 §15.5.14", "self.length = int(lengths[0])", "self.length = int(lengths[0]) % (1 << 32)"),
    "no-content-type-of-echo": ("3", "3.7", "house rule: the contract of /echo", '    response.fields["Content-Type"] = content_type.decode("latin-1")\n', ""),
    "octal-length": ("3", "3.7", "MUST, RFC 9112 §6 and §7.1", "int(lengths[0]) if", "int(lengths[0], 8 if lengths[0][:1] == b\"0\" else 10) if"),
    "names-in-one-case": ("3", "3.7", "MUST, RFC 9112 §6 and §7.1", "fields.append((line[1].lower(),", "fields.append((line[1] == line[1].title() and line[1].lower() or b\"\","),
    "one-blank-after-the-colon": ("3", "3.7", "MUST, RFC 9112 §6 and §7.1", "line[2].strip(b\" \\t\")", "line[2][line[2][:1] == b\" \":]"),
    "blank-wanted": ("3", "3.7", "MUST, RFC 9112 §6 and §7.1", "TOKEN + rb\"):([\\t", "TOKEN + rb\"): ([\\t"),
    "body-is-text": ("3", "3.7", "MUST, RFC 9112 §6 and §7.1", "response.body = b\"\".join(body.read())", "response.body = b\"\".join(body.read()).decode(\"utf-8\", \"replace\").encode()"),
    "lf-in-a-body": ("3", "3.7", "MUST, RFC 9112 §6 and §7.1", "            end = self.bytes.find(", "            check_start(self.bytes[:MAX_HEAD])\n            end = self.bytes.find("),
    "body-ends-at-an-empty-line": ("3", "3.7", "MUST, RFC 9112 §6 and §7.1", "response.body = b\"\".join(body.read())", "response.body = b\"\".join(body.read()).split(b\"\\r\\n\\r\\n\")[0]"),
    "half-a-write": ("3", "3.7", "MUST, RFC 9110 §8.6", "                    self.sock.sendall(parked[:64 << 10])  # each has TIME_LIMIT (4.9)\n                    parked = parked[64 << 10:]", "                    self.sock.send(parked)\n                    parked = b\"\""),
    # Step 3.8
    "size-as-the-language-reads-it": ("3", "3.8", "SHOULD, RFC 9112 §2.2", 'rb"([0-9A-Fa-f]+)" +', 'rb"([ +0-9A-Fa-fx]+)" +'),
    "negative-size": ("3", "3.8", "SHOULD, RFC 9112 §2.2", 'rb"([0-9A-Fa-f]+)" +', 'rb"(-?[0-9A-Fa-f]+)" +', "size = int(size[1], 16)", "size = abs(int(size[1], 16))"),
    "lf-after-a-size": ("3", "3.8", "SHOULD, RFC 9112 §2.2", '            raise Refused(400, "a line of the chunked coding ends in a bare LF")', '            return line[:-1]'),
    "bytes-after-a-chunk-ignored": ("3", "3.8", "SHOULD, RFC 9112 §2.2", "if self.line(2):", "if self.line(99) is None:"),
    "no-extensions": ("3", "3.8", "MUST, RFC 9112 §6 and §7.1", 'rb"([0-9A-Fa-f]+)" + EXTENSIONS', 'rb"([0-9A-Fa-f]+)"'),
    "any-extension": ("3", "3.8", "RFC 9112", 'rb"([0-9A-Fa-f]+)" + EXTENSIONS', 'rb"([0-9A-Fa-f]+).*"'),
    "cr-alone-after-a-chunk": ("3", "3.8", "SHOULD, RFC 9112 §2.2", "            if self.line(2):", "            while len(self.input.bytes) < 2:\n                self.more()\n            if self.input.take(2)[:1] != b\"\\r\":"),
    "truncated-chunks": ("3", "3.8", "house rule, RFC 9112 §8", "            line = self.line(256)\n", "            try:\n                line = self.line(256)\n            except Refused as refused:\n                if \"ended\" in refused.args[1]:\n                    return\n                raise\n"),
    "trailers-left": ("3", "3.8", "MUST, RFC 9112", "        while not trailers.endswith(b\"\\r\\n\\r\\n\") and trailers != b\"\\r\\n\":\n            trailers +=", "        while not trailers.endswith(b\"\\r\\n\"):\n            trailers +=", "        parse_fields(trailers)\n", ""),
    "any-trailer": ("3", "3.8", "MUST, RFC 9112 §5.1", "        parse_fields(trailers)\n", ""),
    "size-of-16-digits": ("3", "3.8", "MUST, RFC 9112 §6 and §7.1", "            if not size:\n                raise", "            if not size or len(size[1]) > 16:\n                raise"),
    "size-overflows": ("3", "3.8", "house rule, RFC 9112 §7.1", "size = int(size[1], 16)", "size = int(size[1], 16) & 0xffffffffffffffff"),
    "length-and-chunked": ("3", "3.8", "house rule, RFC 9112 §6.3", '(self.all(b"content-length") or not self.minor)', "not self.minor"),
    "chunked-in-1.0": ("3", "3.8", "house rule, RFC 9112 §6.1", '(self.all(b"content-length") or not self.minor)', 'self.all(b"content-length")'),
    "chunked-twice": ("3", "3.8", "house rule, RFC 9112 §6.1", "if len(codings) > 1 or", "if len(codings) > 2 or"),
    "xchunked": ("3", "3.8", "MUST, RFC 9112 §6.3", 'codings[0].lower() != b"chunked"', 'b"xchunked" != codings[0].lower() != b"chunked"'),
    "gzip": ("3", "3.8", "SHOULD, RFC 9112 §6.1", "raise Refused(501 if ends and", "raise Refused(400 if ends and"),
    "coding-ignored": ("3", "3.8", "RFC 9112", 'codings[0].lower() != b"chunked"', 'codings[0].lower().endswith(b"chunked") is None'),
    "chunks-without-limit": ("3", "3.8", "house rule, RFC 9110 §15.5.14", "            if total > MAX_BODY:", "            if total > 1 << 62:"),
    "each-chunk-has-the-limit": ("3", "3.8", "house rule, RFC 9110 §15.5.14", "            if total > MAX_BODY:", "            if size > MAX_BODY:"),
    "extension-without-limit": ("3", "3.8", "house rule, RFC 9112 §7.1.1", "line = self.line(256)", "line = self.line(1 << 30)", "            if overhead > MAX_HEAD:", "            if overhead > 1 << 30:"),
    "extensions-without-limit": ("3", "3.8", "house rule, RFC 9112 §7.1.1", "            if overhead > MAX_HEAD:", "            if overhead > 1 << 30:"),
    "trailers-without-limit": ("3", "3.8", "house rule, RFC 9112 §7.1.2", "self.line(MAX_HEAD - len(trailers))", "self.line(1 << 30)"),
    "trailers-are-fields": ("3", "3.8", "MUST NOT, RFC 9110 §6.5.1", "        parse_fields(trailers)\n", "        self.request.fields[:0] = parse_fields(trailers)\n", "        self.input, self.slot, self.waits =", "        self.request, self.input, self.slot, self.waits = request,"),
    "chunks-end-at-a-line": ("3", "3.8", "MUST, RFC 9112", "            yield from self.counted(size)\n            if self.line(2):", "            yield self.line(MAX_BODY)\n            if 0:"),
    "coding-in-lower-case": ("3", "3.8", "MUST, RFC 9112 §6 and §7.1", "codings[0].lower() != b\"chunked\"", "codings[0] != b\"chunked\""),
    "chunks-of-a-get-unread": ("3", "3.8", "MUST, RFC 9112 §6 and §9.3", "self.chunked = codings != []", "self.chunked = codings != [] and self.method not in SAFE"),
    "unread-chunks-left": ("3", "3.8", "MUST, RFC 9112 §6 and §9.3", "        for piece in self.read() if not self.whole", "        if self.chunked and not self.whole:\n            return True\n        for piece in self.read() if not self.whole", "        self.whole = not request.chunked and", "        self.chunked = request.chunked\n        self.whole = not request.chunked and"),
    # Step 3.9
    "stream-of-a-number-and-more": ("3", "3.6", "house rule: the routes of the contract", r're.fullmatch(rb"\d{1,7}", rest)', r're.match(rb"\d{1,7}", rest)', "range(int(rest))", r'range(int(re.match(rb"\d+", rest)[0]))'),
    "stream-without-chunks": ("3", "3.9", "house rule, RFC 9112 §7.1", 'self.framing = "to the end" if self.old else "chunked"', 'self.framing = "to the end"', "self.close or self.old\n", "True\n", "or not request.minor or", "or True or"),
    "no-last-chunk": ("3", "3.9", "MUST, RFC 9112 §7.1", r'last = b"0\r\n\r\n"', 'last = b""'),
    "empty-chunk": ("3", "3.9", "MUST, RFC 9112 §4", '== "chunked" and piece else', '== "chunked" else'),
    "chunked-to-1.0": ("3", "3.9", "MUST NOT, RFC 9112 §6.1", 'self.framing = "to the end" if self.old else "chunked"', 'self.framing = "chunked"'),
    "1.0-kept-open": ("3", "3.9", "MUST, RFC 9112 §9.3", '(self.minor or not built("3.9") or b"keep-alive" in self.options)', 'True'),
    "1.0-keep-alive-unsaid": ("3", "3.9", "house rule, RFC 9112 §9.3", "if self.close or self.old:", "if self.close:"),
    "1.0-in-a-response": ("3", "3.9", "SHOULD, RFC 9110 §6.2", 'f"HTTP/1.1 {self.status}', 'f"HTTP/1.{int(not self.old)} {self.status}'),
    "body-after-head-kept": ("3", "3.9", "MUST NOT, RFC 9110 §9.3.2", "if self.head_only or self.status == 204:", "if self.status == 204:"),
    "chunks-after-head": ("3", "3.9", "MUST NOT, RFC 9110 §9.3.2", ' == "chunked" and not self.head_only else', ' == "chunked" else'),
    "head-without-length": ("3", "3.9", "SHOULD, RFC 9110 §9.3.2", "elif not self.framing and self.status != 204:", "elif not self.framing and self.status != 204 and not self.head_only:"),
    "error-to-head-with-a-body": ("3", "3.9", "MUST NOT, RFC 9110 §9.3.2", "respond(slot, None, refused, None, (head or input.bytes).startswith(b\"HEAD \"))", "respond(slot, None, refused, None, False)"),
    "404-to-head-with-a-body": ("3", "3.9", "MUST NOT, RFC 9110 §9.3.2", "if self.head_only or self.status == 204:", "if self.head_only and self.status < 400 or self.status == 204:"),
    "error-to-half-a-head-with-a-body": ("3", "3.9", "MUST NOT, RFC 9110 §9.3.2", "(head or input.bytes)", "head"),
    "stream-collected": ("3", "3.9", "house rule: /stream sends each line", "    for i in range(int(rest)):\n", "    response.body = b\"\".join(b\"line %d\\n\" % (i + 1) for i in range(int(rest)))\n    for i in ():\n"),
    "dies-in-a-stream": ("3", "3.9", "one client", "                self.gone = True\n", "                os._exit(1)\n"),
    # Step 3.10
    "continue-never": ("3", "3.10", "MUST, RFC 9110 §10.1.1", 'self.slot.write(b"HTTP/1.1 100 Continue', 'self.slot.write(b"" and b"HTTP/1.1 100 Continue'),
    "continue-always": ("3", "3.10", "house rule, RFC 9110 §10.1.1", "        self.whole = not request.chunked and", "        if self.waits:\n            self.more()\n        self.whole = not request.chunked and"),
    "continue-out-of-order": ("3", "3.10", "MUST, RFC 9110 §10.1.1", 'self.slot.write(b"HTTP/1.1 100', 'self.slot.slots.sock.sendall(b"HTTP/1.1 100', '            slots.wait_until_empty()\n        slot = slots.add()', '            pass\n        slot = slots.add()'),
    "any-expectation": ("3", "3.10", "house rule, RFC 9110 §10.1.1", "            if not self.expects:", "            if self.expects is None:"),
    "close-resets-an-upload": ("3", "3.10", "house rule, RFC 9112 §9.6", '        if built("1.5"):\n', '        if built("9.9"):\n'),
    "long-target-is-431": ("3", "3.10", "MUST, RFC 9112 §3", "Refused(414 if", "Refused(431 if"),
    "any-number-of-fields": ("3", "3.10", "RFC 6585 §5", "raise Refused(431, \"there are too", "raise Refused(400, \"there are too", "return Refused(431, \"the head", "return Refused(400, \"the head"),
    "expectation-of-1.0": ("3", "3.10", "MUST, RFC 9110 §10.1.1", "built(\"3.10\") and self.minor and", "built(\"3.10\") and"),
    # Chapter 4
    "out-of-order": ("3", "4.1", "MUST, RFC 9112 §9.3.2", "            first = self.queue[0]\n", "            first = next((slot for slot in self.queue if slot.done), self.queue[0])\n", "self.queue.pop(0)", "self.queue.remove(first)"),
    "waits-for-the-next-request": ("3", "4.1", "write what is finished before you wait", "            request = Request(head)\n", "            request = Request(head)\n            while input.bytes.startswith(b\"GET\") and b\"\\r\\n\\r\\n\" not in input.bytes:\n                input.more()\n"),
    "bad-request-overtakes": ("3", "4.1", "400 in request order", "            slot = slots.add()\n            respond(slot, None", "            slot = Slot(slots, 0)\n            slots.queue.insert(0, slot)\n            respond(slot, None"),
    "half-close-ends-all": ("3", "4.1", "a half-closed connection still carries responses", "        except (Closed, OSError):\n            break", "        except (Closed, OSError):\n            return"),
    "one-handler-at-a-time": ("3", "4.3", "safe requests are handled in parallel", ' or not built("4.3"):', ' or True:'),
    "slot-in-the-thread": ("3", "4.3", "MUST, RFC 9112 §9.3.2", "        slot = slots.add()\n        body", "        slot = None if request.method in SAFE and not request.length and not request.chunked and request.minor else slots.add()\n        body", "            threading.Thread(target=respond, args=(slot, ", "            threads.append(threading.Thread(target=lambda *all: respond(slots.add(), *all), args=(", "daemon=True).start()\n    slots", "daemon=True))\n            threads[-1].start()\n    for thread in threads:\n        thread.join()\n    slots", "slots, last = Input(sock), Slots(sock), False", "slots, last, threads = Input(sock), Slots(sock), False, []"),
    "no-barrier": ("3", "4.7", "only requests with safe methods", ' and built("4.7")', ' and built("9.9")'),
    "all-or-none": ("3", "4.3", "house rule: what is finished at the head", "        while self.queue:\n            first", "        while self.queue and all(slot.done for slot in self.queue):\n            first"),
    "streams-interleave": ("3", "4.1", "MUST, RFC 9112", "            self.parked += piece\n            self.slots.send()", "            self.slots.sock.sendall(piece)"),
    "put-is-safe": ("3", "4.7", "only requests with safe methods", "request.method not in SAFE and built", "request.method not in SAFE + [b\"PUT\"] and built"),
    "post-beside-an-earlier-get": ("3", "4.7", "only requests with safe methods", "        if alone:\n            slots.wait_until_empty()\n", "", "            last = respond(slot, request, None, body, request.method == b\"HEAD\")\n", "            last = respond(slot, request, None, body, request.method == b\"HEAD\")\n            slots.wait_until_empty()\n"),
    "later-ones-beside-a-post": ("3", "4.7", "only requests with safe methods", "        if alone or not body.whole", "        if not body.whole", "        if alone:\n            slots.wait_until_empty()\n", ""),
    "any-number-of-requests": ("3", "4.8", "house rule: a connection has a bounded number", "MAX_SLOTS, MAX_PARKED = 32,", "MAX_SLOTS, MAX_PARKED = 1 << 30,"),
    "responses-without-limit": ("3", "4.8", "house rule: responses that the client does not read", "                    self.sock.sendall(parked[:64 << 10])  # each has TIME_LIMIT (4.9)\n                    parked = parked[64 << 10:]", "                    self.outbox.append(parked)\n                    parked = b\"\"", "        self.gone = False  # the client: it has left, or does not read\n", "        self.gone, self.outbox = False, []\n        threading.Thread(target=self.sends, daemon=True).start()\n\n    def sends(self):\n        while True:\n            while self.outbox:\n                self.sock.sendall(self.outbox.pop(0))\n            time.sleep(0.001)\n"),
    "closes-at-the-limit": ("3", "4.8", "house rule: a", "            self.changed.wait_for(lambda: len(self.queue) < MAX_SLOTS or not built(\"4.8\"))\n", "            if len(self.queue) >= MAX_SLOTS:\n                raise OSError\n"),
    "head-for-ever": ("3", "4.9", "also for the rest of a head", "deadline = time.monotonic() + TIME_LIMIT", "deadline = time.monotonic() + 99"),
    "each-byte-has-the-limit": ("3", "4.9", "for the whole head", "            if self.bytes and not deadline:", "            if self.bytes:"),
    "body-for-ever": ("3", "4.9", "also for the rest of a body", "            self.input.more()\n", "            self.input.more(time.monotonic() + 99)\n"),
    "idle-for-ever": ("3", "4.9", "also for the next request", "                self.more(deadline, between=True)", "                self.more(deadline or time.monotonic() + 99, between=True)"),
    "write-for-ever": ("3", "4.9", "also for one that does not read", "        sock.settimeout(TIME_LIMIT)", "        sock.settimeout(99)"),
    "waiting-is-idle": ("3", "4.9", "and none for itself", "                if slots.are_idle():", "                if not self.bytes:\n                    self.sock.shutdown(socket.SHUT_RDWR)\n                if True:"),
    "idle-clock-runs-in-a-handler": ("3", "4.9", "and none for itself", "                if slots.are_idle():", "                if True:"),
    "limit-of-a-whole-response": ("3", "4.9", "not for the whole of it", "self.sock.sendall(parked[:64 << 10])", "self.sock.sendall(parked)", "parked = parked[64 << 10:]", "parked = b\"\""),
    "queue-reset": ("3", "4.10", "house rule: a stop answers the clients that had connected", "        try:\n            sock, _ = listener", "        if stops():\n            break\n        try:\n            sock, _ = listener"),
    "drops-what-it-read": ("3", "4.10", "house rule: a stop answers", "    while connections and time.monotonic() < deadline:", "    while 0:"),
    "stop-drops-the-buffer": ("3", "4.10", "house rule: a stop answers every request that was read", " and not input.holds_a_head()", "", " and not body.input.holds_a_head()", ""),
    "stop-says-close-too-early": ("3", "4.10", "MUST, RFC 9112 §9.6", " and slot.number == body.input.heads", ""),
    "stop-does-not-say-close": ("3", "4.10", "SHOULD, RFC 9112 §9.6", " or built(\"4.10\") and stops() and slot.number == body.input.heads and not body.input.holds_a_head()", ""),
    "reads-on": ("3", "4.10", "house rule: a stop reads no further", "built(\"4.10\") and stops()", "0", "        if self.sock.fileno() not in events or self.heads and stopping[0] in events:", "        if self.sock.fileno() not in events and not select.select([self.sock], [], [], 0.1)[0]:", "time.monotonic() + 4", "time.monotonic() + 99"),
    "waits-for-idle-clients": ("3", "4.10", "house rule: a stop", "between and built(\"4.10\")", "0", "time.monotonic() + 4", "time.monotonic() + 99"),
    "stops-with-status-3": ("3", "4.10", "house rule: after SIGTERM a server answers", "        time.sleep(0.01)\n\n\nmain()", "        time.sleep(0.01)\n    os._exit(3)\n\n\nmain()"),
}


def changed(source, *pairs):
    for old, new in zip(pairs[::2], pairs[1::2]):
        if source.count(old) < 1:
            sys.exit(f"reference.py has no {old!r}")
        source = source.replace(old, new)
    return source


bug, unusual = os.environ.get("BUG"), os.environ.get("UNUSUAL")
if bug or unusual:
    file = pathlib.Path(__file__).with_name("reference.py")
    pairs = BUGS[bug][3:] if bug else [text for name in unusual.split(",") for text in UNUSUAL[name][1:]]
    exec(compile(changed(file.read_text(), *pairs), f"{bug or unusual} in {file}", "exec"), {"__name__": "__main__"})
else:
    # Several ways share a walk; two that change the same line are in different ones.
    apart = "trailers", "chunked", "byte-by-byte", "more-fields"
    for part in "13":
        for walk in False, True:
            names = [name for name, (parts, *_) in UNUSUAL.items() if part in parts and (name in apart) == walk]
            if names:
                print("unusual", ",".join(names), part, sep="\t")
    for name, (part, step, rule, *_) in BUGS.items():
        print("bug", name, part, step, rule, sep="\t")
