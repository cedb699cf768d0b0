package server

// A noopDriver is a driver that does nothing.
type noopDriver struct{}

func (noopDriver) queueTurn(*transport)                   {}
func (noopDriver) rearm(*transport)                       {}
func (noopDriver) awaitWritable(*transport)               {}
func (noopDriver) awaitInput(t *transport)                { t.changed.Wait() }
func (noopDriver) wakeReader(*transport)                  {}
func (noopDriver) discardInput(*transport)                {}
func (noopDriver) closeSocket(*transport)                 {}
func (noopDriver) handlerExited(*transport, bool, uint64) {}
