package main

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

// A name may have several addresses, of which the first is not always the one
// that answers, and may have others tomorrow. So they are tried in turn, and the
// name is looked up again when none is any good.
//
// The lookup itself is package net's, and nothing else here is: the files, the
// DNS and their order would be a series of their own. Of net's two resolvers it
// is the one in Go, which waits in the poller; the C library's would block a
// thread for each name.
type resolver struct {
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

	mu    sync.Mutex // nothing that waits is done with it
	cache map[string]*cachedLookup
}

// A cachedLookup is one lookup, and all callers who want to know wait for it.
type cachedLookup struct {
	done    chan struct{} // closed when the rest may be read
	addrs   []netip.Addr
	err     error
	expires time.Time // then it is too old; set to the past when no address was any good, with mu held
}

const (
	lookupTimeout = 5 * time.Second // for a lookup, whoever waits for it: two tries of the usual name server
	lookupTTL     = 5 * time.Second // a burst of dials asks once; the resolver does not tell how long a name is good for
)

var (
	ErrUnknownHost = errors.New("no such host")

	// defaultResolver is what the program's clients use.
	defaultResolver = newResolver((&net.Resolver{PreferGo: true}).LookupNetIP)
)

func newResolver(lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)) *resolver {
	return &resolver{lookup: lookup, cache: map[string]*cachedLookup{}}
}

// dialEach calls dial with the addresses of addr, a host and a port, until one is
// connected. Each gets an equal share of the time that is left; a timeout of 0
// leaves it to dial. The error is that of all addresses. n is not asked for an IP
// address, nor for localhost (RFC 6761 §6.3).
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

// appendError puts the next error behind those that came before it, in one line.
func appendError(failed, err error) error {
	if failed == nil {
		return err
	}
	return fmt.Errorf("%w; %w", failed, err)
}

// lookupCached returns what is known of host, and waits for a lookup if that is nothing,
// or too old: then it is fresh. A timeout of 0 is for as long as a lookup takes.
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

// startLookup begins a lookup, unless one is under way, or over and not too old.
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
	go n.runLookup(host, f) // ends when it has found, or after lookupTimeout
	return f, true
}

// invalidate lets the next caller look up again: none of the addresses was any good.
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
		f.expires = time.Time{} // no failure is kept
	}
}

// lookupError puts one of our errors, or the errno of a shortage, beside what the
// resolver says, which it only has as text.
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
	switch {
	case errors.As(err, &said) && said.IsNotFound:
		return fmt.Errorf("look up %s: %w", host, ErrUnknownHost)
	case errors.As(err, &said) && said.IsTimeout:
		return fmt.Errorf("look up %s: %w: %w", host, ErrConnectTimeout, err)
	}
	return fmt.Errorf("look up %s: %w", host, err)
}

// splitHostPort takes HOST:PORT apart. The host is an IPv4 address, an IPv6 address in
// brackets, or a name; it comes back in lower case and without brackets.
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
	case ipErr == nil && ip.Zone() == "" && ip.Is6() == ok: // only IPv6 is in brackets
		return inner, uint16(n), nil
	case ipErr != nil && !ok && validHostname(host):
		return strings.ToLower(host), uint16(n), nil
	}
	return "", 0, fmt.Errorf("bad address %q: want a host and a port from 1 to 65535, such as localhost:8080, 127.0.0.1:8080 or [::1]:8080", addr)
}

// validHostname is for names of hosts, RFC 1123 §2.1. One whose last label is a number
// is an address that somebody has mistyped, or wants to hide.
func validHostname(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, letters) != "" {
			return false
		}
	}
	_, err := strconv.ParseUint(labels[len(labels)-1], 0, 64) // 0: 0x7f is a number too
	return err != nil && len(name) <= 253
}
