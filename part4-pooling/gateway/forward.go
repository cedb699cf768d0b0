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

// hop says whether a field is for the next program only. name may be in any case.
func hop(name []byte) bool {
	for _, h := range hops[len(name)%len(hops)] {
		if http1.EqualFold(name, h) {
			return true
		}
	}
	return false
}

// hops is by the length of the names: most fields are passed over at once.
var hops = byLength(
	"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "http2-settings",
	"content-length", "trailer", // written anew
	"proxy-authenticate", "proxy-authentication-info", "proxy-authorization", // of another kind of proxy
)

func byLength(names ...string) (table [32][]string) {
	for _, name := range names {
		table[len(name)] = append(table[len(name)], name)
	}
	return table
}

// nominees are the fields that Connection makes hop-by-hop as well.
type nominees [][]byte

// nominate collects what the Connection fields name.
func (n nominees) nominate(fields []http1.Field) nominees {
	for _, f := range fields {
		if len(f.Name) == len("connection") && http1.EqualFold(f.Name, "connection") {
			for option := range bytes.SplitSeq(f.Value, []byte(",")) {
				if option = bytes.ToLower(http1.TrimSpace(option)); string(option) != "close" && string(option) != "keep-alive" {
					n = append(n, option)
				}
			}
		}
	}
	return n
}

func (n nominees) has(name []byte) bool {
	for _, nominee := range n {
		if http1.EqualFold(name, string(nominee)) {
			return true
		}
	}
	return false
}

const maxVias = 10 // programs a request may have come through before we call it a circle

var ourVia = [2]string{"Via: 1.0 socketup\r\n", "Via: 1.1 socketup\r\n"} // by the minor version of what came

// A forward is a request on its way through. Its memory is used again.
type forward struct {
	client.Call
	w        *server.Response
	minor    int    // of the request's HTTP/1.minor
	buf      []byte // what the call's own slices point into
	upload   passingBody
	seen     []byte // X-Forwarded-For, of all lines
	told     []byte // Forwarded, of all lines
	trusts   bool   // the client is a proxy of our own; set before take
	claimed  [allClaims]bool
	vias     int      // programs that it came through
	left     int64    // what Max-Forwards allows; noMaximum without
	trailers bool     // the client wants them
	behind   nominees // of the answer's Connection: not among its trailers either
	tell     func(*http1.Heading) error

	queues bool       // it has a place
	place  pool.Place // in the queue of the pool (lineup.go)
}

const noMaximum = -1

var forwards = sync.Pool{New: func() any { return new(forward).made() }}

func (f *forward) made() *forward {
	f.buf = make([]byte, 0, 1<<10)
	f.tell = f.passInterim // once: a method value is an allocation
	return f
}

// free is for when nobody reads the request's body any more.
func (f *forward) free() {
	f.reset()
	forwards.Put(f)
}

func (f *forward) reset() {
	if f.upload.Body != nil {
		f.upload.Body.Settle()
	}
	*f = forward{Call: client.Call{Lines: f.Lines[:0], Body: f.Body[:0]}, buf: f.buf[:0], tell: f.tell}
}

// take makes a call of r, which is answered by w.
func (f *forward) take(w *server.Response, r *server.Request, addr string) {
	peer := f.client(w.Peer())
	f.w, f.minor, f.left, f.Interim = w, r.Minor, noMaximum, f.tell
	f.Method, f.Host, f.Target = r.Method, r.Host, f.originForm(r)
	if len(f.Host) == 0 {
		f.Host = f.text(addr) // HTTP/1.0 may leave Host out
	}
	named := nominees(nil).nominate(r.Fields)
	f.upload.named = named
	for _, one := range r.Fields {
		switch {
		case !f.passes(r, &one):
		case named.has(one.Name):
			f.claimed[claimOf(one.Name)] = false // it is not passed on, after all
		default:
			f.Lines = client.AppendFields(f.Lines, []http1.Field{one})
		}
	}
	if f.trailers { // TE is for the next program only, so it is named: RFC 9110 §10.1.4
		f.Lines = append(f.Lines, "Connection: TE\r\nTE: trailers\r\n"...)
	}
	f.Lines = f.appendOurs(f.Lines, r, peer)
}

// appendOurs appends what the gateway says of the request's way. Lists begin with
// what the client said; what has one value is ours alone, unless a proxy has said it.
func (f *forward) appendOurs(b []byte, r *server.Request, peer []byte) []byte {
	b = append(append(appendList(b, "X-Forwarded-For: ", f.seen), peer...), "\r\n"...)
	b = append(appendForwarded(appendList(b, "Forwarded: ", f.told), peer, r.Host), "\r\n"...)
	b = append(b, ourVia[r.Minor]...)
	if len(r.Host) > 0 && !f.claimed[claimsHost] {
		b = append(append(append(b, "X-Forwarded-Host: "...), r.Host...), "\r\n"...)
	}
	if !f.claimed[claimsProto] {
		b = append(b, "X-Forwarded-Proto: http\r\n"...)
	}
	if !f.claimed[claimsIP] {
		b = append(append(append(b, "X-Real-IP: "...), peer...), "\r\n"...)
	}
	return b
}

// appendList begins a field whose list goes on behind what has come of it.
func appendList(b []byte, name string, came []byte) []byte {
	if b = append(b, name...); len(came) > 0 {
		b = append(append(b, came...), ", "...)
	}
	return b
}

// passes says whether a field goes on, and may change its value. What it must
// remember of one that does not it keeps in f.
func (f *forward) passes(r *server.Request, one *http1.Field) bool {
	switch name := one.Name; {
	case disguised(name):
		return false
	case http1.EqualFold(name, "te"):
		f.trailers = f.trailers || r.Minor == 1 && lists(one.Value, "trailers")
		return false
	case http1.EqualFold(name, "x-forwarded-for"):
		if addresses(one.Value) {
			f.seen = f.join(f.seen, one.Value)
		}
		return false
	case http1.EqualFold(name, "forwarded"):
		if validForwarded(one.Value) {
			f.told = f.join(f.told, one.Value)
		}
		return false
	case http1.EqualFold(name, "trailer"):
		one.Value = announced(one.Value, f.upload.named)
		return r.Length == http1.Chunked && len(one.Value) > 0 // then what it announces will come
	case hop(name), http1.EqualFold(name, "host"), http1.EqualFold(name, "expect"):
		return false
	case http1.EqualFold(name, "authorization"):
		f.Bound = f.Bound || http1.Binds(one.Value)
	case http1.EqualFold(name, "max-forwards") && limitsHops(r.Method):
		one.Value = f.oneHopLess(one.Value)
	case http1.EqualFold(name, "via"):
		f.vias += 1 + bytes.Count(one.Value, []byte(","))
	}
	c := claimOf(one.Name)
	f.claimed[c] = f.trusts
	return c == noClaim || f.trusts
}

// limitsHops says for which methods Max-Forwards means something: RFC 9110 §7.6.2.
func limitsHops(method []byte) bool {
	return string(method) == "OPTIONS" || string(method) == "TRACE"
}

// oneHopLess counts Max-Forwards down. What is no number is not understood, and
// passed on as it is.
func (f *forward) oneHopLess(value []byte) []byte {
	n, ok := http1.ParseNumber(value)
	if !ok {
		return value
	}
	if f.left == noMaximum || n < f.left {
		f.left = n
	}
	return f.text(strconv.FormatInt(max(n-1, 0), 10))
}

// lists says whether a comma-separated list has a member, which is in lower case.
func lists(list []byte, member string) bool {
	for one := range bytes.SplitSeq(list, []byte(",")) {
		if http1.EqualFold(http1.TrimSpace(one), member) {
			return true
		}
	}
	return false
}

// originForm is the path and query of the target, whatever form it came in.
func (f *forward) originForm(r *server.Request) []byte {
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

// client is the client's address as text.
func (f *forward) client(peer netip.Addr) []byte {
	from := len(f.buf)
	f.buf = peer.AppendTo(f.buf)
	return f.buf[from:len(f.buf):len(f.buf)]
}

// text keeps s until free.
func (f *forward) text(s string) []byte {
	from := len(f.buf)
	f.buf = append(f.buf, s...)
	return f.buf[from:len(f.buf):len(f.buf)]
}

// join appends value to a list.
func (f *forward) join(list, value []byte) []byte {
	if len(list) == 0 {
		return value
	}
	from := len(f.buf)
	f.buf = append(append(append(f.buf, list...), ", "...), value...)
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

// appendPassed appends the fields of an answer's head that pass. Date is ours,
// as the answer leaves here; the server writes it.
func appendPassed(b []byte, h *http1.Heading) []byte {
	named := nominees(nil).nominate(h.Fields)
	for _, f := range h.Fields {
		if !hop(f.Name) && !named.has(f.Name) && !http1.EqualFold(f.Name, "date") {
			b = client.AppendFields(b, []http1.Field{f})
		}
	}
	return append(b, ourVia[h.Minor]...)
}
