package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// runTrace runs trace without the retransmission, which takes a second.
func runTrace(t testing.TB, args ...string) string {
	t.Helper()
	cmd := programCommand(t, append([]string{"trace", "-delay", "700ms", "-connect-timeout", "50ms"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if strings.Contains(stderr.String(), errNoNetns.Error()) {
			t.Skip(stderr.String())
		}
		t.Fatal(err, stderr.String())
	}
	return stdout.String()
}

func TestTraceDrawsTheIgnoredSYN(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "three.pcap")

	text := runTrace(t, "-pcap", file)

	t.Log("\n" + text)
	requireNarrow(t, text)
	requireInOrder(t, text,
		"client 1 -->  server    SYN\n", "client 1 <--  server    SYN, ACK\n", "client 1 -->  server    ACK\n",
		`client 1 <--  server    ACK, "HTTP/1.1 200 OK"...`, "2 of 3 answered; ListenDrops +1\n", "packets are in "+file)
	requireInOrder(t, text, "client 2 -->  server    SYN\n", "kernel    accept queue [#] 1 of 1 places taken, FULL",
		"client 3 --x  server    SYN, and nothing comes back\n", "client 3  gives up: connect timed out after 50ms")
	assert.NotContains(t, text, "RST", "ignored, not refused")
	pcap, err := os.ReadFile(file)
	require.NoError(t, err)
	requireWellFormed(t, pcap)
}

// requireWellFormed reads pcap as Wireshark does.
func requireWellFormed(t testing.TB, pcap []byte) {
	t.Helper()
	number := func(at int) int { return int(binary.LittleEndian.Uint32(pcap[at:])) }
	require.Equal(t, 0xa1b23c4d, number(0), "magic number of a file with nanoseconds")
	require.Equal(t, 101, number(20), "LINKTYPE_RAW")
	syns, before := map[uint16]int{}, 0
	rest := 24
	for rest+16 <= len(pcap) {
		when, length := number(rest)*1e9+number(rest+4), number(rest+8)
		require.GreaterOrEqual(t, when, before, "in the order of their times")
		require.Equal(t, length, number(rest+12), "nothing is cut off")
		s, ok := parseSegment(pcap[rest+16 : rest+16+length])
		require.True(t, ok)
		if s.flags == syn {
			syns[s.from]++
		}
		before, rest = when, rest+16+length
	}
	assert.Equal(t, len(pcap), rest)
	require.Len(t, syns, 3, "three clients")
	for _, n := range syns {
		assert.Equal(t, 1, n, "the capture has each packet once")
	}
}

func TestTraceAsJSONIsOneEventPerLine(t *testing.T) {
	t.Parallel()
	text := runTrace(t, "-json")

	var before float64
	for line := range strings.Lines(text) {
		var e event
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		assert.GreaterOrEqual(t, e.US, before)
		before = e.US
	}
	assert.Contains(t, text, `"who":"client 3","what":"SYN, and nothing comes back","to":"server"}`)
}

func FuzzSegment(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1, 0, 80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, ip []byte) {
		if s, ok := parseSegment(ip); ok {
			_ = s.String()
			assert.LessOrEqual(t, len(s.payload), len(ip)-40)
		}
	})
}
