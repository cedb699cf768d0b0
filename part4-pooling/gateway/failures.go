package gateway

import (
	"errors"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/engine"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/pool"
)

// What a client is told when a backend fails: only the kind of failure, because the
// addresses behind a gateway are not for every client to see (-show-backends is for
// learners). The log has the whole error.

// errorKinds are the errors whose text a client may see, most specific first.
var errorKinds = []error{
	client.ErrConnectTimeout, client.ErrHeadTimeout, client.ErrBodyTimeout, client.ErrTotalTimeout, pool.ErrWaitTimeout, pool.ErrQueueFull, engine.ErrStreamQueueFull, pool.ErrClosed,
	client.ErrRefused, client.ErrUnreachable, client.ErrUnknownHost, client.ErrUnsolicited, http1.ErrBadResponse, client.ErrTruncated, client.ErrEnded,
}

// errorKind returns the text of the first of errorKinds in why's chain, without the
// addresses that why has added.
func errorKind(why error) string {
	for _, kind := range errorKinds {
		if errors.Is(why, kind) {
			return kind.Error()
		}
	}
	if isLocalShortage(why) {
		return "the gateway cannot open another connection now"
	}
	return "failed"
}

// isLocalShortage reports whether this machine has run out of descriptors (EMFILE and
// ENFILE of socket(2)), local ports (EADDRNOTAVAIL of connect(2)) or memory. The backend
// is not at fault.
func isLocalShortage(why error) bool {
	for _, errno := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.EADDRNOTAVAIL, unix.ENOBUFS, unix.ENOMEM} {
		if errors.Is(why, errno) {
			return !errors.Is(why, client.ErrRefused) // another address of the same name did respond
		}
	}
	return false
}
