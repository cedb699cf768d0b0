package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A resolver finds the addresses of host names and remembers them for a few
// seconds. A name may have several addresses, of which the first need not be the
// one that responds, and it may have others tomorrow. So dialEach tries them in
// turn, and looks the name up again when all of them fail.
//
// The lookup itself is package net's, and nothing else here is: /etc/hosts, DNS
// and their order would be a series of their own. Of net's two resolvers it is
// the one in Go, which waits in the poller; the C library's would block a thread
// for each name.
type resolver struct {
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

	mu    sync.Mutex // guards cache; never held during a lookup
	cache map[string]*cachedLookup
}

// A cachedLookup is one lookup, which all callers that need its name share.
type cachedLookup struct {
	done    chan struct{} // closed when the lookup has ended; the fields below may be read after that
	addrs   []netip.Addr
	err     error
	expires time.Time // guarded by mu; zero after a failed lookup and after invalidate
}

const (
	lookupTimeout = 5 * time.Second // of one lookup, for all its callers: enough for two queries to a usual name server
	lookupTTL     = 5 * time.Second // one lookup for a burst of dials; package net does not report the record's TTL
)

var (
	// ErrUnknownHost means that a name has no address.
	ErrUnknownHost = errors.New("no such host")

	// defaultResolver is shared by all clients of the program.
	defaultResolver = newResolver((&net.Resolver{PreferGo: true}).LookupNetIP)
)

func newResolver(lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)) *resolver {
	return &resolver{lookup: lookup, cache: map[string]*cachedLookup{}}
}

// dialEach calls dial with each address of addr, a host and a port, until one
// connects. Each address gets an equal share of the time that is left; a timeout
// of 0 leaves the limit to dial. The error names all addresses. An IP address
// needs no lookup, and localhost is never looked up in DNS (RFC 6761 §6.3).
func dialEach[T any](ctx context.Context, n *resolver, addr string, timeout time.Duration, dial func(ctx context.Context, addr string, timeout time.Duration) (T, error)) (T, error) {
	if _, err := netip.ParseAddrPort(addr); err == nil {
		return dial(ctx, addr, timeout)
	}
	var none T
	host, port, err := splitHostPort(addr)
	if err != nil {
		return none, err
	}
	until := time.Now().Add(timeout)
	for {
		f, fresh, err := n.lookupCached(ctx, host, timeout)
		if err != nil {
			return none, err
		}
		var failed error
		for i, ip := range f.addrs {
			share := timeout
			if timeout > 0 {
				share = max(time.Millisecond, (time.Until(until) / time.Duration(len(f.addrs)-i)).Round(time.Millisecond))
			}
			t, err := dial(ctx, netip.AddrPortFrom(ip, port).String(), share)
			if err == nil {
				return t, nil
			}
			failed = appendError(failed, err)
			if ctx.Err() != nil {
				return none, failed
			}
		}
		n.invalidate(f)
		if fresh || timeout > 0 && time.Now().After(until) {
			return none, failed
		}
	}
}

// appendError joins err to the earlier errors in failed, on one line.
func appendError(failed, err error) error {
	if failed == nil {
		return err
	}
	return fmt.Errorf("%w; %w", failed, err)
}

// lookupCached returns the cached addresses of host, or waits for a lookup if
// there are none or they have expired: then fresh is true. A timeout of 0 means
// lookupTimeout.
func (n *resolver) lookupCached(ctx context.Context, host string, timeout time.Duration) (f *cachedLookup, fresh bool, err error) {
	f, fresh = n.startLookup(host)
	if timeout <= 0 {
		timeout = lookupTimeout
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-f.done:
		return f, fresh, f.err
	case <-ctx.Done():
		return nil, fresh, context.Cause(ctx)
	case <-timer.C:
		return nil, fresh, fmt.Errorf("look up %s: %w after %v", host, ErrConnectTimeout, timeout)
	}
}

// startLookup returns the cached lookup of host, in progress or not expired, or
// starts a new one.
func (n *resolver) startLookup(host string) (f *cachedLookup, fresh bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if f = n.cache[host]; f != nil {
		select {
		case <-f.done:
			if time.Now().Before(f.expires) {
				return f, false
			}
		default:
			return f, true
		}
	}
	f = &cachedLookup{done: make(chan struct{})}
	n.cache[host] = f
	go n.runLookup(host, f) // ends with the lookup, at the latest after lookupTimeout
	return f, true
}

// invalidate expires f after all its addresses have failed: the next caller looks
// up again.
func (n *resolver) invalidate(f *cachedLookup) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f.expires = time.Time{}
}

func (n *resolver) runLookup(host string, f *cachedLookup) {
	defer close(f.done)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		f.addrs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
		defer cancel()
		f.addrs, f.err = n.lookup(ctx, "ip", host)
		f.err = lookupError(host, f.err)
	}
	if f.err == nil && len(f.addrs) == 0 {
		f.err = fmt.Errorf("look up %s: %w", host, ErrUnknownHost)
	}
	for i, ip := range f.addrs {
		f.addrs[i] = ip.Unmap().WithZone("")
	}
	f.expires = time.Now().Add(lookupTTL)
	if f.err != nil {
		f.expires = time.Time{} // failures are not cached
	}
}

// lookupError wraps a resolver's error in one of our sentinels, or in the errno of
// descriptor exhaustion, which the resolver reports only as text.
func lookupError(host string, err error) error {
	if err == nil {
		return nil
	}
	for _, errno := range []unix.Errno{unix.EMFILE, unix.ENFILE} {
		if strings.Contains(err.Error(), errno.Error()) {
			return fmt.Errorf("look up %s: %w", host, errno)
		}
	}
	var said *net.DNSError
	var none *net.AddrError // package net's error for a name that it does not look up (RFC 7686: .onion)
	switch {
	case errors.As(err, &said) && said.IsNotFound, errors.As(err, &none):
		return fmt.Errorf("look up %s: %w", host, ErrUnknownHost)
	case errors.As(err, &said) && said.IsTimeout:
		return fmt.Errorf("look up %s: %w: %w", host, ErrConnectTimeout, err)
	}
	return fmt.Errorf("look up %s: %w", host, err)
}

// splitHostPort splits HOST:PORT. The host is an IPv4 address, an IPv6 address in
// brackets, or a name; it is returned in lower case and without brackets.
func splitHostPort(addr string) (host string, port uint16, err error) {
	host, digits := addr, ""
	if colon := strings.LastIndexByte(addr, ':'); colon >= 0 {
		host, digits = addr[:colon], addr[colon+1:]
	}
	n, portErr := strconv.ParseUint(digits, 10, 16)
	inner, ok := strings.CutPrefix(host, "[")
	if ok {
		inner, ok = strings.CutSuffix(inner, "]")
	}
	ip, ipErr := netip.ParseAddr(inner)
	switch {
	case portErr != nil || n == 0:
	case ipErr == nil && ip.Zone() == "" && ip.Is6() == ok: // IPv6 in brackets, IPv4 without
		return inner, uint16(n), nil
	case ipErr != nil && !ok && validHostname(host):
		return strings.ToLower(host), uint16(n), nil
	}
	return "", 0, fmt.Errorf("bad address %q: want a host and a port from 1 to 65535, such as localhost:8080, 127.0.0.1:8080 or [::1]:8080", addr)
}

// validHostname reports whether name is a host name (RFC 1123 §2.1). If its last
// label is a number, it is an IP address, mistyped or disguised.
func validHostname(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, letters) != "" {
			return false
		}
	}
	_, err := strconv.ParseUint(labels[len(labels)-1], 0, 64) // base 0: 0x7f is a number too
	return err != nil && len(name) <= 253
}

// Dial connects to addr, whose host may be a name: each of its addresses is tried
// in turn, within timeout in total (0: as long as the kernel tries). The caller
// owns the connection. The errors are those of Connect, and ErrUnknownHost.
func Dial(ctx context.Context, addr string, timeout time.Duration) (*Conn, error) {
	return dialEach(ctx, defaultResolver, addr, timeout, DialIP)
}
