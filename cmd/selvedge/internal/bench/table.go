package bench

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Write writes the report for people.
func (r *Report) Write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("time", "%.2f s", r.Seconds)
	if r.Sent > 0 {
		row("sent", "%d (%s/s)", r.Sent, thousands(r.SendsPerSecond))
	}
	if r.confirmationsSeen && r.Sent > 0 {
		row("confirmed", "%d, refused %d, unconfirmed %d", r.Confirmed, r.Refused, r.Unconfirmed)
		row("  latency", "%s", r.ConfirmLatency)
		row("  longest gap", "%s; of one producer %s", r.ConfirmGap, r.WorstConfirmGap)
	}
	if r.Deliveries > 0 || r.checked {
		row("received", "%d (%s/s, %.1f MB/s)", r.Received, thousands(r.DeliveriesPerSecond), r.MegabytesPerSecond)
		row("  latency", "%s", r.DeliveryLatency)
		row("  longest gap", "%s; of one consumer %s", r.DeliveryGap, r.WorstDeliveryGap)
		row("  duplicates", "%d unmarked, %d marked redelivered, %d of messages sent again", r.UnmarkedDuplicates, r.MarkedDuplicates, r.ResentDuplicates)
		row("  redelivered", "%d", r.Redelivered)
		row("  out of order", "%d", r.OutOfOrder)
		row("  damaged", "%d, of other runs %d", r.Corrupted, r.Foreign)
	}
	if r.checked {
		row("lost", "%d%s", r.Lost, examples(r.LostExamples))
	}
	if r.Reconnects > 0 || r.Resent > 0 {
		row("reconnects", "%d, messages sent again %d", r.Reconnects, r.Resent)
	}
	for _, e := range r.Errors {
		row("error", "%s", e)
	}
	if r.OK() {
		row("result", "all checks passed")
	} else {
		row("result", "FAILED: %s", strings.Join(r.Failed, "; "))
	}
	return w.Flush()
}

// String describes the latencies in one line.
func (l Latency) String() string {
	if l.Count == 0 {
		return "-"
	}
	return fmt.Sprintf("p50 %s  p90 %s  p99 %s  p99.9 %s  max %s",
		milliseconds(l.P50), milliseconds(l.P90), milliseconds(l.P99), milliseconds(l.P999), milliseconds(l.Max))
}

// String describes the gap.
func (g GapReport) String() string {
	if g.Milliseconds == 0 {
		return "-"
	}
	return fmt.Sprintf("%s at %.1f s", milliseconds(g.Milliseconds), g.AtSeconds)
}

func examples(messages []Message) string {
	if len(messages) == 0 {
		return ""
	}
	names := make([]string, 0, len(messages))
	for _, m := range messages {
		names = append(names, fmt.Sprintf("%d:%d", m.Producer, m.Sequence))
	}
	return " (producer:sequence " + strings.Join(names, " ") + ")"
}

// milliseconds writes a duration with the digits that matter.
func milliseconds(ms float64) string {
	switch {
	case ms < 10:
		return strconv.FormatFloat(ms, 'f', 2, 64) + " ms"
	case ms < 1000:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	default:
		return strconv.FormatFloat(ms/1000, 'f', 2, 64) + " s"
	}
}

// thousands writes a rate as people read it: 12,345.
func thousands(v float64) string {
	digits := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
