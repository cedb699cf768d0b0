package gateway

import (
	"bytes"
	"net/netip"
	"strconv"
	"sync"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/engine"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/server"
)

// How a gateway forwards fields (RFC 9110 §7.6). It never copies the framing or Host: each
// side writes its own, from what it has parsed, so a request that two programs would
// frame differently cannot get through (request smuggling).

// isHopByHop reports whether a field is meant for the next recipient only; name may be in
// any case.
func isHopByHop(name []byte) bool {
	for _, h := range hopByHopFields[len(name)%len(hopByHopFields)] {
		if http1.EqualFold(name, h) {
			return true
		}
	}
	return false
}

// hopByHopFields is indexed by the length of the name: most fields need no comparison.
var hopByHopFields = indexByLength(
	"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "http2-settings",
	"content-length", "trailer", // the framing: each side writes its own
	"proxy-authenticate", "proxy-authentication-info", "proxy-authorization", // for a forward proxy
)

func indexByLength(names ...string) (table [32][]string) {
	for _, name := range names {
		table[len(name)] = append(table[len(name)], name)
	}
	return table
}

// connectionOptions are the fields that Connection makes hop-by-hop as well: a few, or the
// message was refused (http1/request.go, maxOptions).
type connectionOptions [][]byte

// collect appends the options of all Connection fields, in lower case.
func (n connectionOptions) collect(fields []http1.Field) connectionOptions {
	for _, f := range fields {
		if len(f.Name) == len("connection") && http1.EqualFold(f.Name, "connection") {
			for option := range bytes.SplitSeq(f.Value, []byte(",")) {
				option = http1.TrimSpace(option)
				if len(option) > 0 && !http1.EqualFold(option, "close") && !http1.EqualFold(option, "keep-alive") {
					n = append(n, option)
				}
			}
		}
	}
	return n
}

func (n connectionOptions) contains(name []byte) bool {
	for _, option := range n {
		if len(name) == len(option) && bytes.EqualFold(name, option) {
			return true
		}
	}
	return false
}

const maxViaHops = 10 // gateways and proxies that a request may have passed before it counts as a loop

// via returns the Via field of a message that came from the backend of f.
func (f *forwardedRequest) via(minor int) string {
	if f.streams != nil {
		return "Via: 2.0 socketup\r\n"
	}
	return viaField[minor]
}

var viaField = [2]string{"Via: 1.0 socketup\r\n", "Via: 1.1 socketup\r\n"} // by the minor version of the received message

// A forwardedRequest is a client's request as it is sent to the backend. It is recycled.
type forwardedRequest struct {
	client.Request
	w                *server.Response
	addr             string // of the backend
	minor            int    // of the request's HTTP/1.minor
	buf              []byte // the memory of Host, Target and fields that are not the client's bytes
	upload           forwardedBody
	waited           stopwatch                    // for Gateway.BackendTime
	hasForwardedFor  bool                         // X-Forwarded-For came
	hasForwarded     bool                         // Forwarded came
	behindProxy      bool                         // the client is a proxy of our own; set before build
	clientSet        [numProxyFields]bool         // fields that a trusted proxy has set
	viaCount         int                          // members of Via: gateways and proxies passed so far
	maxForwards      int64                        // the value of Max-Forwards, or noMaxForwards
	wantsTrailers    bool                         // the client sent TE: trailers
	streams          *engine.Multiplexer          // sends it over HTTP/2; nil: it goes over HTTP/1.1
	responseOptions  connectionOptions            // of the response's Connection field: removed from its trailers too
	forwardInterimFn func(*client.Response) error // f.forwardInterim

	reserved    bool             // reservation was made by OffloadOrReserve (reserve.go)
	reservation pool.Reservation // must be claimed, once
	returnable                   // giveback.go
}

const noMaxForwards = -1

var forwardedRequests = sync.Pool{New: func() any { return new(forwardedRequest).init() }}

func (f *forwardedRequest) init() *forwardedRequest {
	f.buf = make([]byte, 0, 1<<10)
	f.forwardInterimFn, f.turnWaitFn = f.forwardInterim, f.turnWait // once: each method value costs an allocation
	return f
}

// free recycles f. No goroutine may read the request's body any more.
func (f *forwardedRequest) free() {
	f.reset()
	forwardedRequests.Put(f)
}

func (f *forwardedRequest) reset() {
	if f.upload.Body != nil {
		f.upload.Body.RestoreRead()
	}
	*f = forwardedRequest{Request: client.Request{FieldLines: f.FieldLines[:0], Body: f.Body[:0]}, buf: f.buf[:0], forwardInterimFn: f.forwardInterimFn, returnable: returnable{turnWaitFn: f.turnWaitFn}}
}

// build fills f from r, for the backend at addr; w writes the response to the client.
// Slices of r are shared, so r must stay unchanged until free.
func (f *forwardedRequest) build(w *server.Response, r *server.Request, addr string) {
	peer := f.clientText(w.ClientAddr())
	f.w, f.addr, f.minor, f.maxForwards, f.OnInterim = w, addr, r.Minor, noMaxForwards, f.forwardInterimFn
	f.Method, f.Host, f.Target = r.Method, r.Host, f.originForm(r)
	if len(f.Host) == 0 {
		f.Host = f.store(addr) // an HTTP/1.0 request may have no Host
	}
	named := connectionOptions(nil).collect(r.Fields)
	f.upload.connectionOptions = named
	for _, one := range r.Fields {
		switch {
		case !f.keepField(r, &one):
		case named.contains(one.Name):
			f.clientSet[classifyField(one.Name)] = false // it is not forwarded after all
		default:
			f.FieldLines = client.AppendFields(f.FieldLines, []http1.Field{one})
		}
	}
	if f.wantsTrailers { // TE is hop-by-hop, so Connection must name it: RFC 9110 §10.1.4
		f.FieldLines = append(f.FieldLines, "Connection: TE\r\nTE: trailers\r\n"...)
	}
	f.FieldLines = f.appendGatewayFields(f.FieldLines, r, peer)
}

// appendGatewayFields appends what the gateway reports about the client (proxyfields.go).
// Lists begin with what the client sent; fields with a single value are the gateway's,
// unless a trusted proxy has set them.
func (f *forwardedRequest) appendGatewayFields(b []byte, r *server.Request, peer []byte) []byte {
	b = append(b, "X-Forwarded-For: "...)
	if f.hasForwardedFor {
		b = appendList(b, r.Fields, "x-forwarded-for", isAddressList)
	}
	b = append(append(b, peer...), "\r\nForwarded: "...)
	if f.hasForwarded {
		b = appendList(b, r.Fields, "forwarded", validForwarded)
	}
	b = append(appendForwarded(b, peer, r.Host), "\r\n"...)
	b = append(b, viaField[r.Minor]...)
	if len(r.Host) > 0 && !f.clientSet[forwardedHost] {
		b = append(append(append(b, "X-Forwarded-Host: "...), r.Host...), "\r\n"...)
	}
	if !f.clientSet[forwardedProto] {
		b = append(b, "X-Forwarded-Proto: http\r\n"...)
	}
	if !f.clientSet[realIP] {
		b = append(append(append(b, "X-Real-IP: "...), peer...), "\r\n"...)
	}
	return b
}

// appendList appends the lists that came as fields called name, each followed by a comma
// because the gateway appends its own entry. Each byte is copied once, however many
// fields there are.
func appendList(b []byte, fields []http1.Field, name string, valid func(list []byte) bool) []byte {
	for _, f := range fields {
		if len(f.Value) > 0 && http1.EqualFold(f.Name, name) && valid(f.Value) {
			b = append(append(b, f.Value...), ", "...)
		}
	}
	return b
}

// keepField reports whether a field is forwarded; it may replace the value. It records in
// f what it learns from fields, forwarded or not.
func (f *forwardedRequest) keepField(r *server.Request, one *http1.Field) bool {
	switch name := one.Name; {
	case isDisguised(name):
		return false
	case http1.EqualFold(name, "te"):
		f.wantsTrailers = f.wantsTrailers || r.Minor == 1 && listContains(one.Value, "trailers")
		return false
	case http1.EqualFold(name, "x-forwarded-for"):
		f.hasForwardedFor = true
		return false
	case http1.EqualFold(name, "forwarded"):
		f.hasForwarded = true
		return false
	case http1.EqualFold(name, "trailer"):
		if r.Length != http1.Chunked { // what it announces will not come
			return false
		}
		one.Value = allowedTrailerNames(one.Value, f.upload.connectionOptions)
		return len(one.Value) > 0
	case isHopByHop(name), http1.EqualFold(name, "host"), http1.EqualFold(name, "expect"):
		return false
	case http1.EqualFold(name, "authorization"):
		f.ConnAuth = f.ConnAuth || http1.IsConnAuth(one.Value)
	case http1.EqualFold(name, "max-forwards") && hasMaxForwards(r.Method):
		one.Value = f.decrementMaxForwards(one.Value)
	case http1.EqualFold(name, "via"):
		f.viaCount += 1 + bytes.Count(one.Value, []byte(","))
	}
	c := classifyField(one.Name)
	f.clientSet[c] = f.behindProxy
	return c == notProxyField || f.behindProxy
}

// hasMaxForwards reports whether Max-Forwards has a meaning for method: RFC 9110 §7.6.2.
func hasMaxForwards(method []byte) bool {
	return string(method) == "OPTIONS" || string(method) == "TRACE"
}

// decrementMaxForwards returns the value for the backend. A value that is no number is
// forwarded unchanged.
func (f *forwardedRequest) decrementMaxForwards(value []byte) []byte {
	n, ok := http1.ParseNumber(value)
	if !ok {
		return value
	}
	if f.maxForwards == noMaxForwards || n < f.maxForwards {
		f.maxForwards = n
	}
	return f.store(strconv.FormatInt(max(n-1, 0), 10))
}

// listContains reports whether a comma-separated list has a member, given in lower case.
func listContains(list []byte, member string) bool {
	for one := range bytes.SplitSeq(list, []byte(",")) {
		if http1.EqualFold(http1.TrimSpace(one), member) {
			return true
		}
	}
	return false
}

// originForm returns the target of r in origin-form (RFC 9112 §3.2.1), whatever form it has.
func (f *forwardedRequest) originForm(r *server.Request) []byte {
	if r.Target[0] == '/' {
		return r.Target
	}
	from := len(f.buf)
	f.buf = append(f.buf, r.Path...)
	if r.Query != nil {
		f.buf = append(append(f.buf, '?'), r.Query...)
	}
	return f.buf[from:len(f.buf):len(f.buf)]
}

// clientText returns the client's address as text, valid until free.
func (f *forwardedRequest) clientText(peer netip.Addr) []byte {
	from := len(f.buf)
	f.buf = peer.AppendTo(f.buf)
	return f.buf[from:len(f.buf):len(f.buf)]
}

// store copies s into f.buf; the copy is valid until free.
func (f *forwardedRequest) store(s string) []byte {
	from := len(f.buf)
	f.buf = append(f.buf, s...)
	return f.buf[from:len(f.buf):len(f.buf)]
}

// appendForwarded appends an element of Forwarded (RFC 7239 §4). An IPv6 address must be
// quoted (§6), and so must a host with a port; quoting every host is allowed.
func appendForwarded(b, peer, host []byte) []byte {
	b = append(b, "for="...)
	if bytes.IndexByte(peer, ':') >= 0 {
		b = append(append(append(b, "\"["...), peer...), "]\""...)
	} else {
		b = append(b, peer...)
	}
	if len(host) > 0 {
		b = append(append(append(b, ";host=\""...), host...), '"') // the parser accepts no host with characters that need a backslash
	}
	return append(b, ";proto=http"...)
}

// appendForwardedFields appends the end-to-end fields of a response head, and Via. The
// server writes its own Date.
func appendForwardedFields(b []byte, h *http1.ResponseHead, via string) []byte {
	named := connectionOptions(nil).collect(h.Fields)
	for _, f := range h.Fields {
		if !isHopByHop(f.Name) && !named.contains(f.Name) && !http1.EqualFold(f.Name, "date") {
			b = client.AppendFields(b, []http1.Field{f})
		}
	}
	return append(b, via...)
}
