package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// resultsHeader stands once at the top of RESULTS.md.
const resultsHeader = `# Results of bench/run

Each block is one run. Every figure is a ratio of ours to a peer that was measured
in the same run, in turns with it (A B B A): **median** (least to greatest over the pairs of
turns), and in smaller type the medians of both as they stood. Absolute figures move with
the machine and the hour and are not to be compared between blocks; ratios are.

Higher is better for TCP and packets; lower is better for round trips, processor
time, start and memory. Packets are counted where they arrive, in user space; those
that "the sink was too slow for" had been forwarded, but found the receiver's socket
full: when they are many, the router could do more than its figure says. "Processor time, machine" holds the
sender and the receiver too, which are the same on both sides; "router" is the
process alone and has no counterpart in the kernel. The kernel forwards between
veth pairs within the sender's own softirq, gVisor between two TAPs.

How it is measured: ` + "`bench/run -help`" + `.
`

// resultsBlock is a run as Markdown; it is empty when nothing of ours had a peer.
func resultsBlock(a about, results []series) string {
	list := rows(results)
	if len(list) == 0 {
		return ""
	}
	var peers []string
	for _, name := range contenderNames() {
		for _, r := range list {
			for _, p := range r.peers {
				if p.name == name && !contains(peers, name) {
					peers = append(peers, name)
				}
			}
		}
	}
	var b strings.Builder
	title := ""
	if a.nat {
		title = "NAT and firewall, "
	}
	fmt.Fprintf(&b, "\n## %s%s\n\n%s\n\n", title, a.began.UTC().Format("2006-01-02 15:04 UTC"), a)
	b.WriteString("| figure | ours |")
	for _, p := range peers {
		fmt.Fprintf(&b, " / %s |", p)
	}
	fmt.Fprintf(&b, "\n|---|---|%s\n", strings.Repeat("---|", len(peers)))
	for _, r := range list {
		fmt.Fprintf(&b, "| %s | %s |", r.figure.what, r.name)
		for _, name := range peers {
			cell := " - |"
			for _, p := range r.peers {
				switch {
				case p.name != name:
				case r.figure.plain:
					cell = fmt.Sprintf(" <sub>%s / %s %s</sub> |", number(r.own.median, r.figure.decimal), number(p.value.median, r.figure.decimal), r.figure.unit)
				default:
					cell = fmt.Sprintf(" **%s** (%s to %s) <sub>%s / %s %s</sub> |",
						times(p.ratio.median), times(p.ratio.min), times(p.ratio.max),
						number(r.own.median, r.figure.decimal), number(p.value.median, r.figure.decimal), r.figure.unit)
				}
			}
			b.WriteString(cell)
		}
		b.WriteByte('\n')
	}
	if list := verdicts(results); len(list) > 0 {
		b.WriteString("\n| target | must be | is | |\n|---|---|---|---|\n")
		for _, v := range list {
			fmt.Fprintf(&b, "| %s | %s | %s (%s to %s) | %s |\n", v.what, v.target,
				times(v.measured.median), times(v.measured.min), times(v.measured.max), v.word())
		}
	}
	return b.String()
}

// appendResults adds a block to the file, which it makes with the header if it is not there.
func appendResults(path, block string) error {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		block = resultsHeader + block
	} else if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(block)
	return errors.Join(err, f.Close())
}
