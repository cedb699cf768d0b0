package server

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"socketup/part3-pipelining/socket"
)

// What a client is promised for 64 KiB it has for each 64 KiB: a write may be longer.
func TestLongWriteHasItsTimeForEachPiece(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int64{1: 1, socket.MaxUnsent: 1, socket.MaxUnsent + 1: 2, writeBufferSize + maxBuffered: 2} {
		var o writeQueue
		o.enqueue(make([]byte, n))

		o.startWrite(100, 10)

		assert.Equal(t, 100+10*want, o.deadline, "a write of %d bytes (notsent.go)", n)
	}
}

// A client that reads nothing finds no more in our kernel than is on its way and MaxUnsent:
// so room for more means that it has read.
func TestKernelHoldsNoMoreThanMaxUnsent(t *testing.T) {
	t.Parallel()
	r := startServer(t, withHandler(func(w *Response, _ *Request) { w.Write(make([]byte, 16<<20)) }))
	c := converse(t, r.addr, get("/"))
	defer c.Close()
	limit, unsent := 0, -1
	eventually(t, "a write is blocked", func() (blocked bool) {
		r.forEachConn(func(t *transport) {
			if blocked = t.output.writeState == writeBlocked; blocked {
				limit, _ = unix.GetsockoptInt(t.fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
				unsent = unsentBytes(t.fd)
			}
		})
		return blocked
	})

	require.Equal(t, socket.MaxUnsent, limit, "the option is not inherited (server.go, New)")
	t.Logf("%d bytes in the kernel that it has not sent", unsent)
	assert.LessOrEqual(t, unsent, 2*socket.MaxUnsent, "the kernel reports room late (notsent.go)") // it takes a packet whole
}
