package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFieldWithALineEndIsLoud(t *testing.T) {
	ours(t)
	assert.Panics(t, func() { new(response).set("Location", "/\r\nSet-Cookie: a=b") }, "response splitting")
}
