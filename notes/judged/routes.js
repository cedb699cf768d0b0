// Node's http module with the routes of part 3.
const http = require('http');
const [, host, port] = process.env.ADDR.match(/^(.*):(\d+)$/);
const known = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE'];
const maxBody = 8 << 20;

const { Readable } = require('stream');
const read = { GET: true, HEAD: true }, write = { POST: true, PUT: true };
const routes = [
  [/^\/$/, read, (request, response) => end(response, 200, 'Hello, World!\n')],
  [/^\/echo$/, write, echo],
  [/^\/sleep\/(\d+)ms$/, { ...read, POST: true }, (request, response, ms) => setTimeout(() => end(response, 200, `slept ${ms}ms\n`), ms)],
  [/^\/stream\/(\d+)$/, read, (request, response, n) => {
    response.setHeader('Content-Type', 'text/plain; charset=utf-8');
    response.flushHeaders();
    Readable.from(lines(n)).pipe(response); // as fast as the client reads
  }],
  [/^\/(sleep|stream)\//, read, (request, response) => end(response, 400, 'bad number\n')],
];

function* lines(n) {
  for (let i = 1; i <= n; i++) yield `line ${i}\n`;
}

function echo(request, response) {
  if (request.headers['content-length'] > maxBody) {
    response.setHeader('Connection', 'close');
    return end(response, 413, 'too long\n');
  }
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => {
    response.setHeader('Content-Type', request.headers['content-type'] || 'application/octet-stream');
    end(response, 200, Buffer.concat(pieces));
  });
}

function end(response, status, body) {
  response.statusCode = status;
  if (!response.hasHeader('Content-Type')) response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.setHeader('Content-Length', Buffer.byteLength(body));
  response.end(body);
}

http.createServer((request, response) => {
  const path = request.url.replace(/^http:\/\/[^/?]*/i, '').replace(/\?.*/, '') || '/';
  for (const [pattern, methods, handle] of routes) {
    const found = path.match(pattern);
    if (!found) continue;
    if (methods[request.method]) return handle(request, response, found[1]);
    response.setHeader('Allow', Object.keys(methods).join(', '));
    return end(response, known.includes(request.method) ? 405 : 501, 'not here\n');
  }
  end(response, 404, 'nothing here\n');
}).listen(port, host);
