package server

import (
	"log/slog"
	"runtime"

	"golang.org/x/sys/unix"
)

// A client's connection needs a descriptor; so do an open file and a connection to a
// backend. If clients could use every descriptor that the process may open
// (RLIMIT_NOFILE, getrlimit(2)), clients that only connect could make every request fail
// that needs a file or a backend. So connections are capped below that limit.

// ShareDescriptors divides the process's descriptors (RLIMIT_NOFILE, getrlimit(2))
// between clients and the caller's other connections, such as those to backends. The
// caller wants wanted descriptors for those, and opens apart more for itself.
// ShareDescriptors returns how many of wanted the caller may use: all of them, or at
// least half of the free ones. If fewer than l.Connections are left for clients it lowers
// l.Connections. It logs a warning if it lowers either.
func (l *Limits) ShareDescriptors(wanted, apart int, log *slog.Logger) (others int) {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return wanted
	}
	const maxFiles = 64              // files that may be open at once even when every connection is in use
	own := 8 + runtime.GOMAXPROCS(0) // standard streams, the listener, Go's poller, the loops' pollers, a directory
	all := int(min(r.Cur, 1<<30))
	free := max(2, all-own-apart-min(all/8, maxFiles))
	others = min(wanted, max(free/2, free-l.Connections))
	if limit := free - others; l.Connections > limit || others < wanted {
		limit = min(limit, l.Connections)
		log.Warn("connections are capped: the rest of the descriptors is for files and backends",
			"connections", limit, "asked", l.Connections, "backends", others, "descriptors", all)
		l.Connections = limit
	}
	return others
}
