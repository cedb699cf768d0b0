package main

import (
	"bytes"
	"net/netip"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// What a gateway does to the fields that pass through it (RFC 9110 §7.6). The
// framing and Host are not among them: each side writes its own, from what it
// understood, so that a request that two programs would read in two ways cannot
// get through.

// hop says whether a field is for the next program only. name may be in any case.
func hop(name []byte) bool {
	for _, h := range hops[len(name)%len(hops)] {
		if equalFold(name, h) {
			return true
		}
	}
	return false
}

// hops is by the length of the names: most fields are passed over at once.
var hops = byLength(
	"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "http2-settings",
	"content-length", "trailer", // written anew; trailers are not forwarded
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
func (n nominees) nominate(fields []field) nominees {
	for _, f := range fields {
		if len(f.name) == len("connection") && equalFold(f.name, "connection") {
			for option := range bytes.SplitSeq(f.value, []byte(",")) {
				if option = bytes.ToLower(trim(option)); string(option) != "close" && string(option) != "keep-alive" {
					n = append(n, option)
				}
			}
		}
	}
	return n
}

func (n nominees) has(name []byte) bool {
	for _, nominee := range n {
		if equalFold(name, string(nominee)) {
			return true
		}
	}
	return false
}

const maxVias = 10 // programs a request may have come through before we call it a circle

var ( // made once: a conversion is an allocation
	via           = []byte("1.1 socketup") // our name in Via
	viaName       = []byte("Via")
	forwardedName = []byte("Forwarded")
	forName       = []byte("X-Forwarded-For")
)

// A forward is a request on its way through. Its memory is used again.
type forward struct {
	call
	buf  []byte // what the call's own slices point into
	vias int
}

var forwards = sync.Pool{New: func() any { return &forward{buf: make([]byte, 0, 1<<10)} }}

func (f *forward) free() {
	*f = forward{call: call{fields: f.fields[:0], body: f.body[:0]}, buf: f.buf[:0]}
	forwards.Put(f)
}

// take makes a call of r, which came from peer.
func (f *forward) take(r *request, peer netip.Addr, addr string) {
	f.method, f.host, f.target = r.method, r.host, f.originForm(r)
	if len(f.host) == 0 {
		f.host = f.text(addr) // HTTP/1.0 may leave Host out
	}
	named := nominees(nil).nominate(r.fields)
	var seen []byte // X-Forwarded-For, of all lines
	for _, field := range r.fields {
		switch {
		case hop(field.name) || named.has(field.name) || equalFold(field.name, "host") || equalFold(field.name, "expect"):
			continue
		case equalFold(field.name, "x-forwarded-for"):
			seen = f.join(seen, field.value)
			continue
		case equalFold(field.name, "via"):
			f.vias += 1 + bytes.Count(field.value, []byte(","))
		}
		f.fields = append(f.fields, field)
	}
	from := len(f.buf)
	f.buf = peer.AppendTo(f.buf)
	f.fields = append(f.fields,
		field{forName, f.join(seen, f.buf[from:len(f.buf):len(f.buf)])},
		field{forwardedName, f.forwarded(peer, r.host)},
		field{viaName, via})
}

// originForm is the path and query of the target, whatever form it came in.
func (f *forward) originForm(r *request) []byte {
	if r.target[0] == '/' {
		return r.target
	}
	from := len(f.buf)
	f.buf = append(f.buf, r.path...)
	if r.query != nil {
		f.buf = append(append(f.buf, '?'), r.query...)
	}
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

// forwarded is RFC 7239 §4: an IPv6 address is quoted, and a host that is more
// than a name.
func (f *forward) forwarded(peer netip.Addr, host []byte) []byte {
	from := len(f.buf)
	f.buf = append(f.buf, "for="...)
	if peer.Is6() {
		f.buf = append(peer.AppendTo(append(f.buf, "\"["...)), "]\""...)
	} else {
		f.buf = peer.AppendTo(f.buf)
	}
	if len(host) > 0 {
		f.buf = strconv.AppendQuote(append(f.buf, ";host="...), string(host))
	}
	f.buf = append(f.buf, ";proto=http"...)
	return f.buf[from:len(f.buf):len(f.buf)]
}

// passFields copies the fields of an answer to w. Date is ours, as the answer
// leaves here; the server writes it.
func passFields(w *response, a *answer) {
	named := nominees(nil).nominate(a.fields)
	for _, f := range a.fields {
		if !hop(f.name) && !named.has(f.name) && !equalFold(f.name, "date") {
			w.fields = appendFields(w.fields, []field{f})
		}
	}
	w.fields = appendFields(w.fields, []field{{viaName, via}})
}

// peerOf is who is at the other end of c. The kernel is asked once.
func peerOf(c *conn) netip.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.peer.IsValid() {
		c.peer = netip.IPv4Unspecified() // if it has reset the connection by now
		if sa, err := unix.Getpeername(c.fd); err == nil {
			c.peer = addrPort(sa).Addr()
		}
	}
	return c.peer
}
