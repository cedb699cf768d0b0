// Package testutil is what the tests of several packages share: backends that do
// what a test says, byte by byte, and waits that cannot hang.
//
//	func TestClosedConnectionsAreNotReused(t *testing.T) {
//		s := testutil.ServePolite(t)
//		get(t, s.Addr)
//		s.CloseAll()
//		get(t, s.Addr)
//		testutil.Eventually(t, "a second connection", func() bool { return s.Accepted() == 2 })
//	}
//
// ServeHTTP2 is the same for HTTP/2, frame by frame.
//
// Whatever it starts ends with the test, and every wait fails the test after
// MaxWait with the name of what did not happen.
package testutil
