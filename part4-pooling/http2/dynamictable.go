package http2

import (
	"slices"

	"socketup/part4-pooling/http1"
)

// fieldOverhead is what a field counts in a table or a list, beside its name and
// value (RFC 7541 §4.1, RFC 9113 §6.5.2).
const fieldOverhead = 32 // bytes

func fieldSize(f http1.Field) int { return len(f.Name) + len(f.Value) + fieldOverhead }

// A dynamicTable holds the fields that the encoder told the decoder to remember (RFC
// 7541 §2.3.2). The two keep the same table without a word about it, so that a fault
// in one block spoils every later one.
type dynamicTable struct {
	fields []http1.Field // oldest first; each owns its bytes
	size   int           // of the fields, as fieldSize counts
	limit  int           // of size; the encoder chose it
}

// field returns the field with index i, where 1 is the newest. It has no field for
// others than 1 to len(t.fields).
func (t *dynamicTable) field(i int) http1.Field { return t.fields[len(t.fields)-i] }

// add makes room for f and remembers a copy of it. A field larger than the whole
// table empties it, which is no error (§4.4).
func (t *dynamicTable) add(f http1.Field) {
	t.evict(t.limit - fieldSize(f))
	if fieldSize(f) > t.limit {
		return
	}
	text := slices.Concat(f.Name, f.Value)
	n := len(f.Name)
	t.fields = append(t.fields, http1.Field{Name: text[:n], Value: text[n:]})
	t.size += fieldSize(f)
}

// setLimit changes the limit, and evicts what no longer fits (§4.3).
func (t *dynamicTable) setLimit(limit int) {
	t.limit = limit
	t.evict(limit)
}

// evict removes the oldest fields until the others have at most size bytes.
func (t *dynamicTable) evict(size int) {
	n := 0
	for ; n < len(t.fields) && t.size > size; n++ {
		t.size -= fieldSize(t.fields[n])
	}
	t.fields = slices.Delete(t.fields, 0, n)
}
