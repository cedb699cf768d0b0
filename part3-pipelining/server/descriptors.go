package server

import (
	"log/slog"
	"runtime"

	"golang.org/x/sys/unix"
)

// A client's connection is a descriptor, and so are a file that is being sent and
// a connection to a backend. If clients could have all that the process may open
// (RLIMIT_NOFILE, getrlimit(2)), a crowd that only connects would make every request
// that needs a file or a backend fail. So connections are capped below that.

// ShareDescriptors lowers the limit of connections if need be, and returns how many of wanted
// descriptors others may have: half of what there is, if that is not enough for
// both. apart are kept for what else the caller opens.
func (l *Limits) ShareDescriptors(wanted, apart int, log *slog.Logger) (others int) {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return wanted
	}
	const maxFiles = 64              // that may be open at once, even in a crowd
	own := 8 + runtime.GOMAXPROCS(0) // three streams, the listener, Go's poller, ours, a directory
	all := int(min(r.Cur, 1<<30))
	free := max(2, all-own-apart-min(all/8, maxFiles))
	others = min(wanted, max(free/2, free-l.Connections))
	if most := free - others; l.Connections > most || others < wanted {
		most = min(most, l.Connections)
		log.Warn("connections are capped: the rest of the descriptors is for files and backends",
			"connections", most, "asked", l.Connections, "backends", others, "descriptors", all)
		l.Connections = most
	}
	return others
}
