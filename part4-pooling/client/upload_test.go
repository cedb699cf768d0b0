package client

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/internal/testutil"
)

const ruleWriteDeadline = "house rule: a write deadline is for one write. exchange.go, Conn.Write"

// The write deadline of an upload must not fail later writes on its connection.
func TestUploadDeadlineDoesNotAffectLaterRequests(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(int, *http.Request) string { return testutil.Response200("ok") })
	l, hurried := dialConn(t, s.Addr), testTimeouts
	hurried.Idle = 100 * time.Millisecond
	c := postRequest("/", "")
	c.Stream, c.Length = strings.NewReader(strings.Repeat("x", 64<<10)), 64<<10
	r, err := l.RoundTrip(t.Context(), c, &hurried, time.Time{})
	require.NoError(t, err)
	testutil.Receive(t, l.upload.done, "the upload ends by itself") // one that Close stops has its deadline cleared by the stop
	_, err = io.ReadAll(r)
	require.NoError(t, err)
	require.True(t, l.upload.sent)

	<-time.After(2 * hurried.Idle)

	canWrite := func(uintptr) bool { return true }
	require.NoError(t, l.RawConn.Write(canWrite), ruleWriteDeadline)
}
