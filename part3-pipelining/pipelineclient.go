package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"socketup/part3-pipelining/http1"
	"socketup/part3-pipelining/server"
)

// The verb pipe is a client that pipelines: it sends all requests in one write,
// then reads the responses. Responses carry no number: the first one belongs to
// the first request only because it is the first (RFC 9112 §9.3.2).

func checkPipelineArguments(args []string) error {
	if len(args) < 2 {
		return errors.New("want an address and at least one path")
	}
	_, port, err := net.SplitHostPort(args[0])
	if n, _ := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || !http1.ValidHost([]byte(args[0])) {
		return fmt.Errorf("bad address %q: want a host and a port, such as 127.0.0.1:8080 or localhost:8080", args[0])
	}
	for _, path := range args[1:] {
		if path[:min(1, len(path))] != "/" || http1.Span([]byte(path), http1.TargetByte) != len(path) {
			return fmt.Errorf("bad path %q: want a leading slash, and only bytes that a request line can carry", path)
		}
	}
	return nil
}

// runPipeline sends GET requests for paths to addr in one write and prints when
// each response arrived.
func runPipeline(stdout io.Writer, addr string, paths []string) error {
	t := newTimeline()
	err := sendPipelined(t, addr, paths)
	t.print(stdout, false)
	return err
}

// sendPipelined sends GET requests for paths to addr in one write and records
// on t when each response arrived.
func sendPipelined(t *timeline, addr string, paths []string) error {
	c, err := net.DialTimeout("tcp", addr, 3*time.Second) // why a timeout: part 2
	if err != nil {
		return err
	}
	defer c.Close()
	var requests strings.Builder
	for i, path := range paths {
		fmt.Fprintf(&requests, "GET %s HTTP/1.1\r\nHost: %s\r\n", path, addr)
		if i == len(paths)-1 {
			requests.WriteString("Connection: close\r\n")
		}
		requests.WriteString("\r\n")
	}
	t.record(time.Now(), "client", fmt.Sprintf("sends %d requests in one write of %d bytes", len(paths), requests.Len()), "server")
	if _, err := io.WriteString(c, requests.String()); err != nil {
		return err
	}
	in := bufio.NewReader(c)
	for i, path := range paths {
		c.SetDeadline(time.Now().Add(responseTimeout))
		status, body, err := readResponse(in)
		if err != nil {
			return fmt.Errorf("response %d of %d, to %s: %w", i+1, len(paths), path, err)
		}
		t.record(time.Now(), "client", fmt.Sprintf("has response %d, %s: %s, %s", i+1, path, status, preview(body)), "")
	}
	return nil
}

const responseTimeout = 75 * time.Second // for one response; /sleep may take 60

// preview quotes the beginning of a body, and adds the length of a body that is
// longer.
func preview(body []byte) string {
	const shown = 16 // bytes: a line has room for them in 80 columns
	if len(body) <= shown {
		return fmt.Sprintf("%q", body)
	}
	return fmt.Sprintf("%q... (%d bytes)", body[:shown], len(body))
}

// readResponse reads the final response to a GET, and not a byte beyond it. It
// skips the interim responses, such as 103 Early Hints, that precede it (RFC
// 9110 §15.2).
func readResponse(in *bufio.Reader) (status string, body []byte, err error) {
	var length int64
	for before := 0; before == 0 || strings.HasPrefix(status, "1"); before++ {
		if status, length, err = readHead(in); err != nil || before > maxInterimResponses {
			return "", nil, cmp.Or(err, errors.New("too many interim responses"))
		}
	}
	switch {
	case strings.HasPrefix(status, "204") || strings.HasPrefix(status, "304"):
	case length == http1.Chunked:
		body, err = readChunks(in)
	case length >= 0:
		body, err = io.ReadAll(io.LimitReader(in, length))
		if err == nil && int64(len(body)) < length {
			err = io.ErrUnexpectedEOF
		}
	default:
		body, err = io.ReadAll(in)
	}
	return status, body, err
}

const (
	maxInterimResponses = 100
	untilClose          = -2 // as a length: the body is delimited by the close of the connection
)

// readHead reads a response head and returns the length of its body, Chunked or
// untilClose. It skips up to server.MaxEmptyLines empty lines before the head,
// as a server does (RFC 9112 §2.2).
func readHead(in *bufio.Reader) (status string, length int64, err error) {
	line, err := readLine(in)
	for empty := 0; err == nil && line == "" && empty < server.MaxEmptyLines; empty++ {
		line, err = readLine(in)
	}
	version, status, _ := strings.Cut(line, " ")
	if err == nil && !strings.HasPrefix(version, "HTTP/1.") {
		err = fmt.Errorf("not a status line: %q", line)
	}
	for length = untilClose; err == nil; {
		if line, err = readLine(in); err != nil || line == "" {
			break
		}
		name, value, _ := strings.Cut(strings.ToLower(line), ":")
		value = strings.Trim(value, " \t")
		n, ok := http1.ParseNumber([]byte(value))
		switch {
		case name == "content-length" && (length != untilClose || !ok || n == http1.MaxNumber):
			err = fmt.Errorf("invalid or repeated Content-Length: %q", line)
		case name == "content-length":
			length = n
		case name == "transfer-encoding" && (length != untilClose || value != "chunked"):
			err = fmt.Errorf("transfer coding other than a single chunked: %q", line)
		case name == "transfer-encoding":
			length = http1.Chunked
		}
	}
	return status, length, err
}

func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), err
}

// readChunks reads a chunked body and its trailers, with the decoder that the
// server uses for requests.
func readChunks(in *bufio.Reader) (body []byte, err error) {
	f, _ := http1.NewBodyDecoder(http1.Chunked, 1<<30, 32<<10)
	for need := 1; !f.AtEnd(); {
		b, err := in.Peek(max(need, in.Buffered()))
		if err != nil {
			return body, io.ErrUnexpectedEOF
		}
		piece, used, refused := f.Decode(b, len(b))
		if refused != nil {
			return body, refused
		}
		body = append(body, piece...)
		in.Discard(used)
		if need = 1; used == 0 {
			need = len(b) + 1
		}
	}
	return body, nil
}
