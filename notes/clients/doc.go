// Package clients is the contract of a client in any language, as tests: each
// starts the command in $CLIENT, gives it requests on standard input, and is the
// server that they are for. Without $CLIENT it judges net/http's client
// (../judged/client).
package clients
