package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// countSyscalls returns how often the process pid has called read and write
// (proc(5)). That includes calls unrelated to clients: the Go runtime
// occasionally wakes its poller with a write.
func countSyscalls(t testing.TB, pid int) (reads, writes int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		t.Skip("the kernel does not count a process's reads and writes: ", err)
	}
	for line := range strings.Lines(string(text)) {
		fmt.Sscanf(line, "syscr: %d", &reads)
		fmt.Sscanf(line, "syscw: %d", &writes)
	}
	return reads, writes
}

// Sixteen requests that arrive in one packet cost one read and one write. On
// one core that always holds; on two, unless a handler is preempted and a
// follower writes meanwhile (leadertoken.go).
func TestSixteenPipelinedRequestsCostOneWrite(t *testing.T) {
	const depth, rounds = 16, 51
	cmd := programCommand(t, "serve", "-addr", "127.0.0.1:0")
	cmd.Env = append(cmd.Env, "GOMAXPROCS=1")
	addr, _ := startProgram(t, cmd)
	c := converse(t, addr, get("/"))
	one := make([]byte, 4096)
	n, err := c.Read(one)
	require.NoError(t, err)
	answers := make([]byte, depth*n)
	var reads, writes []int
	for range rounds {
		readsBefore, writesBefore := countSyscalls(t, cmd.Process.Pid)
		io.WriteString(c, strings.Repeat(get("/"), depth))
		readFull(t, c, answers)
		r, w := countSyscalls(t, cmd.Process.Pid)
		reads, writes = append(reads, r-readsBefore), append(writes, w-writesBefore)
	}
	slices.Sort(reads)
	slices.Sort(writes)

	t.Logf("%d requests in one packet: %d reads, %d write; in the worst of %d rounds %d and %d",
		depth, reads[rounds/2], writes[rounds/2], rounds, reads[rounds-1], writes[rounds-1])
	assert.Equal(t, 1, writes[rounds/2], "house rule: responses that are ready leave in one write; this is the median of write calls for a packet (conn.go, advance; writequeue.go, startWrite)")
	assert.Equal(t, 1, reads[rounds/2], "house rule: requests that arrive in one packet cost one read; this is the median of read calls for a packet (transport.go, read)")
}
