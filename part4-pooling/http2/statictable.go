package http2

import (
	"strings"

	"socketup/part4-pooling/http1"
)

// staticFields is the static table (RFC 7541 Appendix A): the fields that a pair of
// programs need not spell out. The first line is index 1.
const staticFields = `:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate`

var (
	staticTable  = parseStaticTable() // by index; the RFC counts from 1, so entry 0 is unused
	staticByName = indexStaticTable() // by length of the name: the first index of each
)

func parseStaticTable() []http1.Field {
	table := make([]http1.Field, 1)
	for line := range strings.Lines(staticFields) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		table = append(table, http1.Field{Name: []byte(name), Value: []byte(value)})
	}
	return table
}

func indexStaticTable() (byLength [32][]int) {
	for i, f := range staticTable {
		if i > 0 && string(f.Name) != string(staticTable[i-1].Name) {
			byLength[len(f.Name)] = append(byLength[len(f.Name)], i)
		}
	}
	return byLength
}

// staticIndex returns the first index of the static table with that name, 0 if there
// is none, and whether value is that of index too.
func staticIndex(name, value []byte) (index int, both bool) {
	if len(name) >= len(staticByName) {
		return 0, false
	}
	for _, index = range staticByName[len(name)] {
		if string(staticTable[index].Name) == string(name) {
			for i := index; i < len(staticTable) && string(staticTable[i].Name) == string(name); i++ {
				if string(staticTable[i].Value) == string(value) {
					return i, true
				}
			}
			return index, false
		}
	}
	return 0, false
}
