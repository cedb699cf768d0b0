# Python's http.client as a client for the judge: a connection for each thread and
# host, as most of us would write it first.
import http.client, os, queue, sys, threading
from urllib.parse import urlsplit

requests, printing = queue.Queue(), threading.Lock()


def result(connections, method, url):
    u = urlsplit(url)
    c = connections.setdefault(u.netloc, http.client.HTTPConnection(u.netloc, timeout=3))
    try:
        c.request(method, u.path + ("?" + u.query if u.query else ""), b"body" if method == "POST" else None)
        r = c.getresponse()
        return f"{r.status} {len(r.read())}"
    except (OSError, http.client.HTTPException) as e:
        c.close()
        return f"error {e!r}"


def caller():
    connections = {}
    while (line := requests.get()) is not None:
        text = result(connections, *line.split(" ", 1))
        with printing:
            print(line, text, flush=True)


callers = [threading.Thread(target=caller) for _ in range(int(os.environ["CALLERS"]))]
for c in callers:
    c.start()
for line in sys.stdin:
    requests.put(line.strip())
for _ in callers:
    requests.put(None)
