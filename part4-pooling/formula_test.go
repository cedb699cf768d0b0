package main

// perConnection is the formula of limits.go, in bytes.
func perConnection(l limits) int {
	return inSize + l.pipeline*(l.head+2*maxParked) + 2*(outSize+maxParked) + int(l.body)
}
