package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A server is the program that is judged, running.
type server struct {
	*group
	addr  string
	claim net.PacketConn // to addr
	slow  time.Duration  // how long it took until it listened
}

const (
	startTimeout = 10 * time.Second       // a server may have to be compiled first
	stopGrace    = time.Second            // from SIGTERM to SIGKILL
	lastBreath   = 200 * time.Millisecond // between a server's last byte and its exit status
	daemonTime   = time.Second            // for a daemon to listen after its parent has ended
)

// A trouble is one sentence about a program that cannot be judged, or cannot be
// judged further.
type trouble string

const inBackground = trouble("Your command has ended, and something that it left in the background listens: let the server run in the foreground, so that the judge can watch it and stop it.")

func (t trouble) Error() string { return string(t) }

// startServer runs command in dir with a free address in $ADDR, and environment, and returns when
// it listens there, for which it has startTimeout or patience, the longer of the
// two. Of a server that does not listen it returns one that has ended, with what
// it printed, and a trouble.
func startServer(ctx context.Context, command, dir string, patience time.Duration, environment []string) (*server, error) {
	addr, claim, err := claimAddr()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "ADDR="+addr), environment...)
	g, err := start(cmd)
	if err != nil {
		claim.Close()
		return nil, err
	}
	g.mayDaemonise = true
	s := &server{group: g, addr: addr, claim: claim}
	if err := s.awaitListening(ctx, max(startTimeout, patience)); err != nil {
		s.end(stopGrace)
		return s, err
	}
	return s, nil
}

// end is group.end, and gives the address up.
func (s *server) end(grace time.Duration) (obeyed bool) {
	defer s.claim.Close()
	return s.group.end(grace)
}

// claimAddr returns an address that no socket has, and the claim to it. Its port is one
// that the kernel does not give to clients, who could take it before the server does.
// Nor do other judges that run meanwhile: the claim is the UDP port of that number, and
// only one of them can have it. The caller closes the claim when the server has ended.
func claimAddr() (addr string, claim net.PacketConn, err error) {
	for range 100 {
		addr = fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(22_000))
		if claim, err = net.ListenPacket("udp", addr); err != nil {
			continue
		}
		free, failed := net.Listen("tcp", addr)
		if err = failed; err == nil {
			free.Close()
			return addr, claim, nil
		}
		claim.Close()
	}
	return "", nil, err
}

// awaitListening returns when the server listens on its address.
func (s *server) awaitListening(ctx context.Context, limit time.Duration) error {
	began, ended := time.Now(), time.Time{}
	for {
		exited := s.hasExited() // before the look: it may have begun to listen, and left a child
		if listens(s.addr) {
			s.slow = time.Since(began)
			if exited {
				return inBackground
			}
			return nil
		}
		switch {
		case exited && s.cmd.ProcessState.ExitCode() == 127:
			return trouble("Your server did not start: the shell did not find the command, or a file of it.")
		case exited && s.cmd.ProcessState.Success() && ended.IsZero():
			ended = time.Now()
		case exited && s.cmd.ProcessState.Success() && time.Since(ended) < daemonTime:
			// what it left in the background may listen yet
		case exited:
			return trouble(fmt.Sprintf("Your server ended (%v) before it listened on $ADDR (%s).", s.cmd.ProcessState, s.addr))
		case time.Since(began) > limit:
			return trouble(fmt.Sprintf("Your server runs, but does not listen on $ADDR (%s) after %v: it must take its address from the environment. (PATIENCE=30s gives it longer.)", s.addr, limit))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// hasDied returns what to say of a server that ended while it was judged, or
// stopped listening. A test that failed may have seen it before the kernel tells us;
// then hasDied waits a little.
func (s *server) hasDied(failed bool) error {
	for until := time.Now().Add(lastBreath); failed && !s.hasExited() && time.Now().Before(until); {
		time.Sleep(5 * time.Millisecond)
	}
	switch {
	case !s.hasExited() && failed && !listens(s.addr):
		return trouble(fmt.Sprintf("Your server runs, but no longer listens on $ADDR (%s).", s.addr))
	case !s.hasExited():
		return nil
	case s.cmd.ProcessState.Success() && listens(s.addr):
		return inBackground
	}
	return trouble(fmt.Sprintf("Your server ended (%v) while it was judged: one client must not end it.", s.cmd.ProcessState))
}

// listens returns whether a socket listens on addr. Where the system says so
// without a connection no connection is made: a first server may not survive a
// client that sends nothing.
func listens(addr string) bool {
	found, err := listensByProc(addr)
	if err == nil {
		return found
	}
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// listensByProc looks for addr's port in Linux's tables of sockets. They begin with
// those that listen; the others, thousands after a test, are not read.
func listensByProc(addr string) (bool, error) {
	_, port, _ := strings.Cut(addr, ":")
	var number int
	fmt.Sscan(port, &number)
	var read int
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, err := os.Open(file)
		if err != nil {
			continue
		}
		defer table.Close()
		read++
		lines := bufio.NewScanner(table)
		lines.Scan() // the names of the columns
		for lines.Scan() {
			fields := strings.Fields(lines.Text())
			if len(fields) < 4 || fields[3] != "0A" {
				break
			}
			if strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", number)) {
				return true, nil
			}
		}
	}
	if read == 0 {
		return false, errors.New("this system has no /proc/net/tcp")
	}
	return false, nil
}
