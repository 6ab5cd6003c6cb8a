package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTableAlignsAndFillsEmptyCells(t *testing.T) {
	var b strings.Builder
	if err := table(&b, []string{"NAME", "N"}, [][]string{{"a", "1"}, {"longer", ""}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("NAME    N\na       1\nlonger  -\n", b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestUnitsAreReadable(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{size(0), "0 B"},
		{size(1023), "1023 B"},
		{size(1536), "1.5 KiB"},
		{size(5 << 30), "5.0 GiB"},
		{size(1 << 63), "8192.0 PiB"},
		{age(59), "59s"},
		{age(61), "1m1s"},
		{age(3*3600 + 120), "3h2m"},
		{age(2*86400 + 3600), "2d1h"},
		{rate(0), "0"},
		{rate(2.25), "2.2"},
		{rate(1234.5), "1234"},
		{numbers(nil), ""},
		{numbers([]int{0, 3}), "0,3"},
		{numbers(make([]int, 9)), "9 shards"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}
