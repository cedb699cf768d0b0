package gateway

import "socketup/part4-pooling/client"

// RequestMemory is how many bytes a gateway keeps for a request that waits, if its head has
// head bytes at most: it is a part of what each must have credit for
// (server/waitingmemory.go). Every byte of the head is there twice at most, as
// it came in and as a field that goes out or a member of a list that was put
// together; the gateway's own fields are short. Of the response's head, the fields that pass are
// kept, and are there again as they will leave.
func RequestMemory(head int) int {
	const own = 1 << 10 // bytes of the gateway's own fields
	return 2*head + own + 2*client.MaxHead
}
