package cursor

import (
	"encoding/binary"
	"testing"
)

func TestCursor_ReadsWhatWasWrittenAndStopsAtTheEnd(t *testing.T) {
	b := []byte{7}
	b = binary.BigEndian.AppendUint16(b, 300)
	b = binary.BigEndian.AppendUint32(b, 70000)
	b = binary.BigEndian.AppendUint64(b, 1<<40)
	b = binary.AppendUvarint(b, 1<<50)
	b = AppendBytes(b, "text")
	for cut := range b {
		c := New(b[:cut])
		read(&c)
		if !c.Bad {
			t.Fatalf("cut at %d: got no complaint", cut)
		}
	}
	c := New(b)
	if o, h, w, l, v, s := read(&c); o != 7 || h != 300 || w != 70000 || l != 1<<40 || v != 1<<50 || s != "text" || c.Bad || c.More() || c.Off != len(b) {
		t.Errorf("got %d %d %d %d %d %q %+v", o, h, w, l, v, s, c)
	}
	over := New(binary.AppendUvarint(nil, 1<<62))
	if over.Bytes(); !over.Bad {
		t.Error("got no complaint about a length past the end")
	}
}

func read(c *Cursor) (byte, uint16, uint32, uint64, uint64, string) {
	return c.Octet(), c.U16(), c.U32(), c.U64(), c.Uvarint(), string(c.Bytes())
}
