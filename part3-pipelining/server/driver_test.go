package server

// A bystander is a driver that does nothing.
type bystander struct{}

func (bystander) owe(*transport)                  {}
func (bystander) again(*transport)                {}
func (bystander) blocked(*transport)              {}
func (bystander) await(t *transport)              { t.changed.Wait() }
func (bystander) woken(*transport)                {}
func (bystander) finned(*transport)               {}
func (bystander) close(*transport)                {}
func (bystander) exited(*transport, bool, uint64) {}
