// A reverse proxy with node:http, as most of us would write it, from $ADDR to $BACKEND.
const http = require("node:http")
const backend = new URL(process.env.BACKEND)
const [host, port] = process.env.ADDR.split(":")
const agent = new http.Agent({ keepAlive: true })
const hopByHop = ["connection", "keep-alive", "proxy-connection", "te", "upgrade", "transfer-encoding"]

// passing returns the field lines of a message without those of one connection.
function passing(message) {
  const named = (message.headers.connection ?? "").toLowerCase().split(/[ \t]*,[ \t]*/)
  const lines = []
  for (let i = 0; i < message.rawHeaders.length; i += 2) {
    const name = message.rawHeaders[i].toLowerCase()
    if (!hopByHop.includes(name) && !named.includes(name)) lines.push([message.rawHeaders[i], message.rawHeaders[i + 1]])
  }
  return lines
}

const server = http.createServer((request, response) => {
  const fields = [...passing(request), ["Via", `${request.httpVersion} node`], ["X-Forwarded-For", request.socket.remoteAddress ?? "unknown"]] // a client that has reset has no address
  const asked = http.request({ agent, host: backend.hostname, port: backend.port, method: request.method, path: request.url, headers: fields.flat(), setHost: false })
  const slow = setTimeout(() => asked.destroy(new Error("timeout")), 2000)
  asked.on("socket", socket => socket.connecting ? socket.once("connect", () => clearTimeout(slow)) : clearTimeout(slow))
  asked.on("information", ({ statusCode, headers }) => { if (statusCode === 103) response.writeEarlyHints(headers) })
  asked.on("response", answer => {
    response.writeHead(answer.statusCode, answer.statusMessage, passing(answer).flat())
    answer.pipe(response)
    answer.on("error", () => response.destroy())
  })
  asked.on("error", error => {
    if (response.headersSent) return response.destroy()
    response.writeHead(error.message === "timeout" ? 504 : 502).end(`${error.message}\n`)
  })
  request.pipe(asked)
})
server.listen(Number(port), host)
