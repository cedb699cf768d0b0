package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"socketup/part4-pooling/internal/testutil"
)

// A fakeDNS is a name server whose records a test can change, and which counts
// lookups.
type fakeDNS struct {
	asked atomic.Int64
	mu    sync.Mutex
	addrs []string
	err   error
}

func (d *fakeDNS) set(err error, addrs ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addrs, d.err = addrs, err
}

func (d *fakeDNS) lookup(context.Context, string, string) (addrs []netip.Addr, err error) {
	d.asked.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.addrs {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs, d.err
}

var errUnreachableForTest = errors.New("not this one")

// dialOnly returns a dial function for dialEach that connects to good and to no
// other address.
func dialOnly(good string, dialled *[]string) func(context.Context, string, time.Duration) (string, error) {
	return func(_ context.Context, addr string, _ time.Duration) (string, error) {
		*dialled = append(*dialled, addr)
		if addr == good {
			return addr, nil
		}
		return "", fmt.Errorf("connect %s: %w", addr, errUnreachableForTest)
	}
}

func TestAllAddressesOfANameAreTriedInTurn(t *testing.T) {
	t.Parallel()
	var d fakeDNS
	d.set(nil, "192.0.2.1", "::ffff:192.0.2.2", "2001:db8::1")
	n := newResolver(d.lookup)
	var dialled []string

	at, err := dialEach(t.Context(), n, "many.example:80", testutil.MaxWait, dialOnly("[2001:db8::1]:80", &dialled))

	require.NoError(t, err)
	assert.Equal(t, "[2001:db8::1]:80", at)
	assert.Equal(t, []string{"192.0.2.1:80", "192.0.2.2:80", "[2001:db8::1]:80"}, dialled)

	_, err = dialEach(t.Context(), n, "many.example:81", testutil.MaxWait, dialOnly("", &dialled))
	assert.ErrorIs(t, err, errUnreachableForTest)
	for _, addr := range []string{"192.0.2.1:81", "192.0.2.2:81", "[2001:db8::1]:81"} {
		assert.ErrorContains(t, err, addr, "the error names all addresses")
	}
	assert.NotContains(t, err.Error(), "\n")
}

// A server that has moved is found as soon as its old address fails.
func TestNameIsLookedUpAgainWhenNoAddressConnects(t *testing.T) {
	t.Parallel()
	var d fakeDNS
	d.set(nil, "192.0.2.1")
	n := newResolver(d.lookup)
	var dialled []string
	for range 3 {
		_, err := dialEach(t.Context(), n, "moves.example:80", testutil.MaxWait, dialOnly("192.0.2.1:80", &dialled))
		require.NoError(t, err)
	}
	assert.EqualValues(t, 1, d.asked.Load(), "a cached name is not looked up for every connection")

	d.set(nil, "192.0.2.9")
	at, err := dialEach(t.Context(), n, "moves.example:80", testutil.MaxWait, dialOnly("192.0.2.9:80", &dialled))

	require.NoError(t, err, "a stale address is never looked up again")
	assert.Equal(t, "192.0.2.9:80", at)
	assert.EqualValues(t, 2, d.asked.Load())

	_, err = dialEach(t.Context(), n, "moves.example:80", testutil.MaxWait, dialOnly("", &dialled))
	assert.ErrorIs(t, err, errUnreachableForTest)
	assert.EqualValues(t, 3, d.asked.Load(), "and one more failure is one more lookup")
}

// An address that works is not cached for ever: the name may move away from it.
func TestLookupResultsExpire(t *testing.T) {
	t.Parallel()
	var d fakeDNS
	d.set(nil, "192.0.2.1")
	n := newResolver(d.lookup)
	var dialled []string
	_, err := dialEach(t.Context(), n, "old.example:80", testutil.MaxWait, dialOnly("192.0.2.1:80", &dialled))
	require.NoError(t, err)

	n.mu.Lock()
	n.cache["old.example"].expires = time.Now().Add(-time.Millisecond)
	n.mu.Unlock()
	d.set(nil, "192.0.2.2")
	at, err := dialEach(t.Context(), n, "old.example:80", testutil.MaxWait, dialOnly("192.0.2.2:80", &dialled))

	require.NoError(t, err)
	assert.Equal(t, "192.0.2.2:80", at)
}

func TestFailedLookupsAreReportedAndNotCached(t *testing.T) {
	t.Parallel()
	var d fakeDNS
	n := newResolver(d.lookup)
	var dialled []string
	for text, c := range map[string]struct{ said, want error }{
		"not found": {&net.DNSError{Err: "no such host", IsNotFound: true}, ErrUnknownHost},
		"too slow":  {&net.DNSError{Err: "i/o timeout", IsTimeout: true}, ErrConnectTimeout},
		"no files":  {&net.DNSError{Err: "dial udp 127.0.0.1:53: socket: too many open files"}, unix.EMFILE},
		"nothing":   {nil, ErrUnknownHost},
		"no DNS":    {&net.AddrError{Err: "no suitable address found"}, ErrUnknownHost},
	} {
		d.set(c.said)

		_, err := dialEach(t.Context(), n, "gone.example:80", testutil.MaxWait, dialOnly("", &dialled))

		assert.ErrorIs(t, err, c.want, text)
		assert.ErrorContains(t, err, "look up gone.example: ", text)
	}
	assert.EqualValues(t, 5, d.asked.Load())
	assert.Empty(t, dialled)
}

// Concurrent callers share one lookup, and one that gives up does not end it for
// the rest.
func TestConcurrentCallersShareOneLookup(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	answer := make(chan bool)
	n := newResolver(func(context.Context, string, string) ([]netip.Addr, error) {
		asked.Add(1)
		<-answer
		return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
	})
	dial := func(_ context.Context, addr string, _ time.Duration) (string, error) { return addr, nil }
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			_, err := dialEach(t.Context(), n, "slow.example:80", testutil.MaxWait, dial)
			assert.NoError(t, err)
		})
	}
	testutil.Eventually(t, "the lookup has started", func() bool { return asked.Load() == 1 })

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := dialEach(gone, n, "slow.example:80", testutil.MaxWait, dial)
	assert.ErrorIs(t, err, context.Canceled)
	_, err = dialEach(t.Context(), n, "slow.example:80", time.Millisecond, dial)
	assert.ErrorIs(t, err, ErrConnectTimeout)
	close(answer)
	all.Wait()

	assert.EqualValues(t, 1, asked.Load())
}

// An unresponsive address must not use up the time of those after it.
func TestEachAddressGetsAShareOfTheTimeout(t *testing.T) {
	t.Parallel()
	var d fakeDNS
	d.set(nil, "192.0.2.1", "192.0.2.2", "192.0.2.3")
	var shares []time.Duration

	_, err := dialEach(t.Context(), newResolver(d.lookup), "silent.example:80", 3*time.Hour, func(_ context.Context, _ string, timeout time.Duration) (int, error) {
		shares = append(shares, timeout)
		return 0, errUnreachableForTest
	})

	assert.ErrorIs(t, err, errUnreachableForTest)
	require.Len(t, shares, 3)
	for i, want := range []time.Duration{time.Hour, 90 * time.Minute, 3 * time.Hour} {
		assert.InDelta(t, want, shares[i], float64(time.Minute), "share %d, as no time passes", i)
	}
}

func TestServerAddressesAreParsed(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"localhost:80": "localhost 80", "127.0.0.1:1": "127.0.0.1 1", "[::1]:65535": "::1 65535", "Web-1.Example.:8080": "web-1.example. 8080",
		"a_b:80": "a_b 80", "1and1.com:080": "1and1.com 80",
	} {
		host, port, err := splitHostPort(addr)
		require.NoError(t, err, addr)
		assert.Equal(t, want, fmt.Sprint(host, " ", port))
	}
	for _, addr := range []string{
		"", "localhost", ":80", "localhost:", "localhost:0", "localhost:65536", "localhost:+1", "localhost:http", "::1:80", "[127.0.0.1]:80", "[localhost]:80",
		"[::1]", "[::1:80", "[fe80::1%lo]:80", "127.1:80", "2130706433:80", "0x7f.1:80", "1.2.3.4.5:80", "me@localhost:80", "a..b:80", ".:80", "a b:80", "bücher.example:80",
		strings.Repeat("a", 64) + ":80", strings.Repeat("a.", 128) + "b:80", "localhost:80:80", "a/b:80",
	} {
		_, _, err := splitHostPort(addr)
		assert.ErrorContains(t, err, "bad address "+fmt.Sprintf("%q", addr)+": want a host and a port", addr)
	}
}
