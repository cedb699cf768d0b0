package testutil_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/internal/testutil"
)

// The program in doc.go, with net/http as the client.
func TestClosedConnectionsAreNotReused(t *testing.T) {
	s := testutil.ServePolite(t)
	get(t, s.Addr)
	s.CloseAll()
	get(t, s.Addr)
	testutil.Eventually(t, "a second connection", func() bool { return s.Accepted() == 2 })
}

func get(t *testing.T, addr string) {
	t.Helper()
	r, err := http.Get("http://" + addr + "/")
	require.NoError(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Equal(t, "hello", string(body))
}
