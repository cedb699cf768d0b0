// Node's http module under the contract of the series.
const http = require('http');
const [, host, port] = process.env.ADDR.match(/^(.*):(\d+)$/);
http.createServer((request, response) => {
  const body = 'Hello, World!\n';
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.setHeader('Content-Length', Buffer.byteLength(body));
  request.resume().on('end', () => response.end(body)); // unread, a large body would reset the connection
}).listen(port, host);
