package server

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFieldWithALineEndIsLoud(t *testing.T) {
	ours(t)
	assert.Panics(t, func() { new(Response).SetField("Location", "/\r\nSet-Cookie: a=b") }, "response splitting")
}
