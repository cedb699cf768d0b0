package gateway

import (
	"errors"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/pool"
)

// What a gateway says when a backend fails. Its client learns the kind of the
// failure, for it may be a stranger: the addresses behind a gateway are none of
// its business (-show-backends is for learners). The log has all of it.

// errorKinds are what strangers are told, the first that fits.
var errorKinds = []error{
	client.ErrConnectTimeout, client.ErrHeadTimeout, client.ErrBodyTimeout, client.ErrTotalTimeout, pool.ErrWaitTimeout, pool.ErrQueueFull, pool.ErrClosed,
	client.ErrRefused, client.ErrUnreachable, client.ErrUnknownHost, client.ErrUnsolicited, http1.ErrBadResponse, client.ErrTruncated, client.ErrEnded,
}

// errorKind is why without whom it is about.
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

// isLocalShortage says whether it is us who have run out: of descriptors (socket(2)), of
// ports (connect(2): EADDRNOTAVAIL) or of memory. The backend is as good as before.
func isLocalShortage(why error) bool {
	for _, errno := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.EADDRNOTAVAIL, unix.ENOBUFS, unix.ENOMEM} {
		if errors.Is(why, errno) {
			return !errors.Is(why, client.ErrRefused) // another address of the same name did answer
		}
	}
	return false
}
