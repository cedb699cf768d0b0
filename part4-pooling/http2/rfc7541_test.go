package http2

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/http1"
)

// unhex returns the bytes of an RFC's dump: groups of hexadecimal digits.
func unhex(t testing.TB, dump string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(dump), ""))
	require.NoError(t, err)
	return b
}

// text renders fields as lines, "name: value", without a space after the colon for an
// empty value.
func text(fields []http1.Field) string {
	var b strings.Builder
	for _, f := range fields {
		b.WriteString(string(f.Name) + ": " + string(f.Value) + "\n")
	}
	return b.String()
}

// A block is an example of RFC 7541 Appendix C: what arrives, the fields in it, and
// what the dynamic table holds afterwards, the newest field first.
type block struct{ in, fields, table string }

func (b block) check(t *testing.T, name string, d *Decoder) {
	fields, refused := d.Decode(unhex(t, b.in), nil)
	require.Nil(t, refused, name)
	assert.Equal(t, b.fields, text(fields), name)
	var table []http1.Field
	for i := range d.table.fields {
		table = append(table, d.table.field(i+1))
	}
	assert.Equal(t, b.table, text(table), name)
}

func TestIntegersOfRFC7541C1(t *testing.T) {
	for _, c := range []struct {
		n, bits int
		bytes   string
	}{
		{10, 5, "0a"},
		{1337, 5, "1f 9a 0a"},
		{42, 8, "2a"},
	} {
		assert.Equal(t, unhex(t, c.bytes), appendInteger(nil, 0, c.bits, c.n))
		n, rest, refused := readInteger(unhex(t, c.bytes+"ff"), c.bits)
		require.Nil(t, refused)
		assert.Equal(t, c.n, n)
		assert.Equal(t, []byte{0xff}, rest)
	}
}

func TestFieldsOfRFC7541C2(t *testing.T) {
	for name, b := range map[string]block{
		"C.2.1 literal, indexed":       {"400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", "custom-key: custom-header\n", "custom-key: custom-header\n"},
		"C.2.2 literal, not indexed":   {"040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path\n", ""},
		"C.2.3 literal, never indexed": {"1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret\n", ""},
		"C.2.4 indexed":                {"82", ":method: GET\n", ""},
	} {
		b.check(t, name, NewDecoder(DefaultTableSize, 1000))
	}
}

// Three requests on one connection, without and with Huffman codes (C.3, C.4), and
// three responses with a table of 256 bytes, which evicts (C.5, C.6).
func TestConnectionsOfRFC7541C3ToC6(t *testing.T) {
	const (
		r1 = ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n"
		t1 = ":authority: www.example.com\n"
		r2 = r1 + "cache-control: no-cache\n"
		t2 = "cache-control: no-cache\n" + t1
		r3 = ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value\n"
		t3 = "custom-key: custom-value\n" + t2

		date   = "date: Mon, 21 Oct 2013 20:13:21 GMT\n"
		date22 = "date: Mon, 21 Oct 2013 20:13:22 GMT\n"
		place  = "location: https://www.example.com\n"
		cookie = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\n"
		s1     = ":status: 302\ncache-control: private\n" + date + place
		u1     = place + date + "cache-control: private\n:status: 302\n"
		s2     = ":status: 307\ncache-control: private\n" + date + place
		u2     = ":status: 307\n" + place + date + "cache-control: private\n"
		s3     = ":status: 200\ncache-control: private\n" + date22 + place + "content-encoding: gzip\n" + cookie
		u3     = cookie + "content-encoding: gzip\n" + date22
	)
	for name, c := range map[string]struct {
		table  int
		blocks []block
	}{
		"C.3": {DefaultTableSize, []block{
			{"8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", r1, t1},
			{"8286 84be 5808 6e6f 2d63 6163 6865", ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\ncache-control: no-cache\n", t2},
			{"8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", r3, t3},
		}},
		"C.4": {DefaultTableSize, []block{
			{"8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", r1, t1},
			{"8286 84be 5886 a8eb 1064 9cbf", r2, t2},
			{"8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", r3, t3},
		}},
		"C.5": {256, []block{
			{"4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", s1, u1},
			{"4803 3330 37c1 c0bf", s2, u2},
			{"88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31", s3, u3},
		}},
		"C.6": {256, []block{
			{"4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3", s1, u1},
			{"4883 640e ffc1 c0bf", s2, u2},
			{"88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07", s3, u3},
		}},
	} {
		d := NewDecoder(c.table, 1000)
		for _, b := range c.blocks {
			b.check(t, name, d)
		}
	}
}
