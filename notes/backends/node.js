// The site over HTTP/2 without TLS, on the listening socket that is descriptor 3.
//
//	node node.js ROOT POSTS STREAMS REQUESTS
const http2 = require('http2'), fs = require('fs'), path = require('path');
const [root, posts, streams, requests] = process.argv.slice(2);
const hello = 'Hello, World!\n', files = new Map(), meetings = new Map(), sessions = new Set();
for (const name of ['big', ...fs.readdirSync(path.join(root, 'id')).map((n) => 'id/' + n)]) {
  files.set('/' + name, fs.readFileSync(path.join(root, name)));
}

function answer(stream, body) {
  if (stream.destroyed) return;
  stream.respond({ ':status': 200, 'content-type': 'text/plain', 'content-length': Buffer.byteLength(body) });
  stream.end(body);
}

function serve(stream, headers) {
  const [, page, value] = headers[':path'].split('/');
  const file = files.get(headers[':path']);
  stream.on('error', () => {});
  if (file) return answer(stream, file);
  switch (page) {
    case '': return answer(stream, hello);
    case 'echo':
      stream.respond({ ':status': 200 });
      return stream.pipe(stream);
    case 'once':
      fs.appendFileSync(posts, value + '\n');
      stream.resume();
      return stream.on('end', () => answer(stream, value));
    case 'trailers':
      stream.respond({ ':status': 200, trailer: 'etag' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ etag: '"42"' }));
      return stream.end('body\n');
    case 'early':
      stream.additionalHeaders({ ':status': 103, link: '</style.css>; rel=preload' });
      return answer(stream, hello);
    case 'sleep': return setTimeout(answer, Number(value), stream, hello);
    case 'meet': {
      const waiting = meetings.get(value) || [];
      meetings.set(value, waiting);
      if (waiting.push(stream) < Number(value)) return;
      meetings.delete(value);
      return waiting.forEach((s) => answer(s, hello));
    }
  }
  stream.respond({ ':status': 404 }, { endStream: true });
}

const settings = Number(streams) ? { maxConcurrentStreams: Number(streams) } : {};
const server = http2.createServer({ settings });
server.on('session', (session) => {
  let served = 0;
  sessions.add(session);
  session.on('close', () => sessions.delete(session));
  session.on('error', () => {});
  session.on('stream', () => {
    if (++served === Number(requests)) session.close(); // with GOAWAY
  });
});
server.on('stream', serve);
server.on('error', (e) => { throw e; });
process.on('SIGTERM', () => {
  server.close();
  sessions.forEach((session) => session.close());
});
server.listen({ fd: 3 }, () => console.log('ready'));
