package gateway

import "socketup/part4-pooling/client"

// RequestMemory returns the most memory in bytes that a gateway keeps for a request that
// waits, where head is the size of the largest request head that the server accepts. It
// is part of the credit that each request needs (server/waitingmemory.go).
//
// Each byte of the request head is kept at most twice: as it was received, and in a field
// or a joined list that is forwarded. The gateway's own fields are short. The forwarded
// fields of the response head are kept twice too: as received, and as they will be sent.
func RequestMemory(head int) int {
	const own = 1 << 10 // bytes of the gateway's own fields
	return 2*head + own + 2*client.MaxHead
}
