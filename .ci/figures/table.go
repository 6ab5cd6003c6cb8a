package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// errMissed ends the command with 1.
var errMissed = errors.New("a limit is missed")

// row is a load with what its runs came to.
type row struct {
	load
	samples []*sample
}

func (r *row) title() string {
	if r.nodes == 1 {
		return r.name
	}
	return fmt.Sprintf("%s (%d nodes)", r.name, r.nodes)
}

// spread returns the least, the middle and the greatest of a figure of the runs: of
// an even number of runs the mean of the two in the middle.
func (r *row) spread(f *figure) (least, middle, most float64) {
	all := make([]float64, len(r.samples))
	for i, s := range r.samples {
		all[i] = f.of(s)
	}
	slices.Sort(all)
	n := len(all)
	return all[0], (all[(n-1)/2] + all[n/2]) / 2, all[n-1]
}

// cell is a figure as it stands in the table; – where there is none.
func (r *row) cell(f *figure) string {
	least, middle, most := r.spread(f)
	if most == 0 {
		return "–"
	}
	if len(r.samples) == 1 {
		return fmt.Sprintf(f.format+f.unit, middle)
	}
	return fmt.Sprintf(f.format+" ("+f.format+"–"+f.format+")"+f.unit, middle, least, most)
}

// judge says how the row keeps a limit. A comparison with a load that was not
// measured is none.
func (r *row) judge(m limit, rows []*row) (words string, missed bool) {
	_, got, _ := r.spread(m.of)
	bound, name := m.bound, ""
	if m.than != "" {
		i := slices.IndexFunc(rows, func(o *row) bool { return o.name == m.than && o.nodes == 1 && o.samples != nil })
		name = " as " + m.than
		if i < 0 {
			return fmt.Sprintf("%s %s%s: not measured", m.of.name, m.sign, name), false
		}
		_, bound, _ = rows[i].spread(m.of)
	}
	met := map[string]bool{"≥": got >= bound, "≤": got <= bound, "<": got < bound}[m.sign]
	words = fmt.Sprintf("%s %s %g%s%s: ", m.of.name, m.sign, rounded(bound), m.of.unit, name)
	if met {
		return words + "met", false
	}
	return words + "**missed**", true
}

// rounded is a bound without digits that nobody reads.
func rounded(v float64) float64 { return float64(int64(v*100)) / 100 }

// writeTable writes the table. Missed limits are an error.
func writeTable(out io.Writer, rows []*row) error {
	head := "| load | nodes | sent a second | received a second | confirmation p50 | p99 | delivery p50 | p99 | mean batch | node CPU a message | limits |\n"
	fmt.Fprint(out, head, strings.Repeat("|---", strings.Count(head, "|")-1), "|\n")
	var missed []string
	for _, r := range rows {
		if r.samples == nil {
			continue
		}
		cells := []string{r.name, strconv.Itoa(r.nodes)}
		for _, f := range []*figure{sent, received, confirm50, confirm99, deliver50, deliver99, batch, nodeCPU} {
			cells = append(cells, r.cell(f))
		}
		var kept []string
		for _, m := range r.limits {
			words, bad := r.judge(m, rows)
			kept = append(kept, words)
			if bad {
				missed = append(missed, fmt.Sprintf("%s: got %s, want %s", r.title(), r.cell(m.of), strings.TrimSuffix(words, ": **missed**")))
			}
		}
		fmt.Fprintf(out, "| %s | %s |\n", strings.Join(cells, " | "), strings.Join(kept, "; "))
	}
	if len(missed) > 0 {
		return fmt.Errorf("%w: %s", errMissed, strings.Join(missed, "; "))
	}
	return nil
}

// writeRatio compares sends with receipts with what other brokers came to on a
// machine of this kind; they were measured before, and not by this command.
func writeRatio(out io.Writer, rows []*row) error {
	i := slices.IndexFunc(rows, func(r *row) bool { return r.name == receipts && r.samples != nil })
	if i < 0 {
		return nil
	}
	_, rate, _ := rows[i].spread(sent)
	_, cost, _ := rows[i].spread(nodeCPU)
	var words []string
	for _, b := range []struct {
		name       string
		rate, cost float64
	}{{"RabbitMQ 3.10", 8900, 140}, {"ActiveMQ 5.17", 5000, 230}} {
		words = append(words, fmt.Sprintf("%.0f times the %.0f a second of %s, at 1/%.0f of its %.0f µs of server CPU a message",
			rate/b.rate, b.rate, b.name, b.cost/cost, b.cost))
	}
	_, err := fmt.Fprintf(out, "\n%s: %s.\n", receipts, strings.Join(words, "; "))
	return err
}

// others says how much of the machine something else used, at worst.
func others(rows []*row) string {
	var most, stolen float64
	for _, r := range rows {
		for _, s := range r.samples {
			most, stolen = max(most, s.others), max(stolen, s.stolen)
		}
	}
	return fmt.Sprintf("Other work of the machine meanwhile took %.2f of a core at the most, its host %.2f.", most, stolen)
}
