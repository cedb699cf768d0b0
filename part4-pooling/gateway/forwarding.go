package gateway

import (
	"bytes"
	"net/netip"
	"strconv"
	"sync"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/server"
)

// What a gateway does to the fields that pass through it (RFC 9110 §7.6). The
// framing and Host are not among them: each side writes its own, from what it
// understood, so that a request that two programs would read in two ways cannot
// get through.

// isHopByHop says whether a field is for the next program only. name may be in any case.
func isHopByHop(name []byte) bool {
	for _, h := range hopByHopFields[len(name)%len(hopByHopFields)] {
		if http1.EqualFold(name, h) {
			return true
		}
	}
	return false
}

// hopByHopFields is by the length of the names: most fields are passed over at once.
var hopByHopFields = indexByLength(
	"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "http2-settings",
	"content-length", "trailer", // written anew
	"proxy-authenticate", "proxy-authentication-info", "proxy-authorization", // of another kind of proxy
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

// collect collects what the Connection fields name.
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

const maxViaHops = 10 // programs a request may have come through before we call it a circle

var viaField = [2]string{"Via: 1.0 socketup\r\n", "Via: 1.1 socketup\r\n"} // by the minor version of what came

// A forwardedRequest is a request on its way through. Its memory is used again.
type forwardedRequest struct {
	client.Request
	w                *server.Response
	minor            int    // of the request's HTTP/1.minor
	buf              []byte // what the request's own slices point into
	upload           forwardedBody
	hasForwardedFor  bool // X-Forwarded-For came
	hasForwarded     bool // Forwarded came
	behindProxy      bool // the client is a proxy of our own; set before take
	clientSet        [numProxyFields]bool
	viaCount         int               // programs that it came through
	maxForwards      int64             // what Max-Forwards allows; noMaxForwards without
	wantsTrailers    bool              // the client wants them
	responseOptions  connectionOptions // of the response's Connection: not among its trailers either
	forwardInterimFn func(*http1.ResponseHead) error

	reserved    bool             // it has a place
	reservation pool.Reservation // in the queue of the pool (reserve.go)
}

const noMaxForwards = -1

var forwardedRequests = sync.Pool{New: func() any { return new(forwardedRequest).init() }}

func (f *forwardedRequest) init() *forwardedRequest {
	f.buf = make([]byte, 0, 1<<10)
	f.forwardInterimFn = f.forwardInterim // once: a method value is an allocation
	return f
}

// free is for when nobody reads the request's body any more.
func (f *forwardedRequest) free() {
	f.reset()
	forwardedRequests.Put(f)
}

func (f *forwardedRequest) reset() {
	if f.upload.Body != nil {
		f.upload.Body.RestoreRead()
	}
	*f = forwardedRequest{Request: client.Request{FieldLines: f.FieldLines[:0], Body: f.Body[:0]}, buf: f.buf[:0], forwardInterimFn: f.forwardInterimFn}
}

// build makes a request of r, which is answered by w.
func (f *forwardedRequest) build(w *server.Response, r *server.Request, addr string) {
	peer := f.clientText(w.ClientAddr())
	f.w, f.minor, f.maxForwards, f.OnInterim = w, r.Minor, noMaxForwards, f.forwardInterimFn
	f.Method, f.Host, f.Target = r.Method, r.Host, f.originForm(r)
	if len(f.Host) == 0 {
		f.Host = f.store(addr) // HTTP/1.0 may leave Host out
	}
	named := connectionOptions(nil).collect(r.Fields)
	f.upload.connectionOptions = named
	for _, one := range r.Fields {
		switch {
		case !f.keepField(r, &one):
		case named.contains(one.Name):
			f.clientSet[classifyField(one.Name)] = false // it is not passed on, after all
		default:
			f.FieldLines = client.AppendFields(f.FieldLines, []http1.Field{one})
		}
	}
	if f.wantsTrailers { // TE is for the next program only, so it is named: RFC 9110 §10.1.4
		f.FieldLines = append(f.FieldLines, "Connection: TE\r\nTE: trailers\r\n"...)
	}
	f.FieldLines = f.appendGatewayFields(f.FieldLines, r, peer)
}

// appendGatewayFields appends what the gateway says of the request's way. Lists begin with
// what the client said; what has one value is ours alone, unless a proxy has said it.
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

// appendList appends the lists that came as fields called name, each with a comma behind it,
// for the list goes on. Each byte is copied once, however many fields there are.
func appendList(b []byte, fields []http1.Field, name string, valid func(list []byte) bool) []byte {
	for _, f := range fields {
		if len(f.Value) > 0 && http1.EqualFold(f.Name, name) && valid(f.Value) {
			b = append(append(b, f.Value...), ", "...)
		}
	}
	return b
}

// keepField says whether a field goes on, and may change its value. What it must
// remember of one that does not it keeps in f.
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

// hasMaxForwards says for which methods Max-Forwards means something: RFC 9110 §7.6.2.
func hasMaxForwards(method []byte) bool {
	return string(method) == "OPTIONS" || string(method) == "TRACE"
}

// decrementMaxForwards counts Max-Forwards down. What is no number is not understood, and
// passed on as it is.
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

// listContains says whether a comma-separated list has a member, which is in lower case.
func listContains(list []byte, member string) bool {
	for one := range bytes.SplitSeq(list, []byte(",")) {
		if http1.EqualFold(http1.TrimSpace(one), member) {
			return true
		}
	}
	return false
}

// originForm is the path and query of the target, whatever form it came in.
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

// clientText is the client's address as text.
func (f *forwardedRequest) clientText(peer netip.Addr) []byte {
	from := len(f.buf)
	f.buf = peer.AppendTo(f.buf)
	return f.buf[from:len(f.buf):len(f.buf)]
}

// store keeps s until free.
func (f *forwardedRequest) store(s string) []byte {
	from := len(f.buf)
	f.buf = append(f.buf, s...)
	return f.buf[from:len(f.buf):len(f.buf)]
}

// appendForwarded is RFC 7239 §4: an IPv6 address is quoted, and a host that is
// more than a name.
func appendForwarded(b, peer, host []byte) []byte {
	b = append(b, "for="...)
	if bytes.IndexByte(peer, ':') >= 0 {
		b = append(append(append(b, "\"["...), peer...), "]\""...)
	} else {
		b = append(b, peer...)
	}
	if len(host) > 0 {
		b = append(append(append(b, ";host=\""...), host...), '"') // the parser lets nothing into it that would have to be escaped
	}
	return append(b, ";proto=http"...)
}

// appendForwardedFields appends the fields of a response's head that pass. Date is ours,
// as the response leaves here; the server writes it.
func appendForwardedFields(b []byte, h *http1.ResponseHead) []byte {
	named := connectionOptions(nil).collect(h.Fields)
	for _, f := range h.Fields {
		if !isHopByHop(f.Name) && !named.contains(f.Name) && !http1.EqualFold(f.Name, "date") {
			b = client.AppendFields(b, []http1.Field{f})
		}
	}
	return append(b, viaField[h.Minor]...)
}
