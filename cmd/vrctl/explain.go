package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

// verdicts that a packet can meet.
var verdicts = []string{"forwarded", "delivered", "dropped", "rejected", "waits"}

func (a *app) explainCommand() *cobra.Command {
	r := api.ExplainRequest{ICMPType: 8}
	var expect string
	cmd := &cobra.Command{
		Use:   "explain --in PORT --src ADDRESS --dst ADDRESS",
		Short: "what would become of a packet, decision by decision, and why",
		Long: `Tell what would become of a packet that does not exist: every stage that it passes, what is
decided there and the line of the configuration behind it; then the verdict, the packet as it
leaves, and the session that it belongs to or would make. Nothing is sent, and nothing counts it.

Without --proto it is a ping. TCP begins with a SYN unless --flags says otherwise; TCP and
UDP want a --dport. The exit code is 0 whatever the verdict, so that scripts can ask: with
--expect it is 4 for another one.`,
		Example: "  vrctl explain --in lan --src 192.168.1.5 --dst 198.51.100.7 --proto tcp --dport 443\n" +
			"  vrctl explain --in wan --src 203.0.113.9 --dst 198.51.100.1 --proto tcp --dport 22 --expect dropped\n" +
			"  vrctl explain --in lan --src 192.168.1.5 --dst 198.51.100.7 --ttl 1",
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkExplain(r, cmd.Flags()); err != nil {
				return err
			}
			if expect != "" && !slices.Contains(verdicts, expect) {
				return usagef("--expect %s: %s", expect, meant(expect, verdicts))
			}
			return a.with(func(c *client.Client) error { return a.explain(cmd.Context(), c, r, expect) })
		},
	}
	f := cmd.Flags()
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "protocol" {
			name = "proto" // as everywhere else
		}
		return pflag.NormalizedName(name)
	})
	f.StringVar(&r.In, "in", "", "the `port` by which it comes in")
	f.StringVar(&r.Src, "src", "", "source `address`")
	f.StringVar(&r.Dst, "dst", "", "destination `address`")
	f.StringVar(&r.Protocol, "proto", "", "`protocol`: icmp unless said otherwise, tcp, udp or a number")
	f.IntVar(&r.SrcPort, "sport", 0, "source `port`, of ICMP the identifier; 49152 or 1 if nothing is said")
	f.IntVar(&r.DstPort, "dport", 0, "destination `port`")
	f.StringVar(&r.TCPFlags, "flags", "", "TCP `flags` as tcpdump writes them: S, SA, A, F, R; S if nothing is said")
	f.IntVar(&r.ICMPType, "icmp-type", r.ICMPType, "ICMP `type`: 8 is echo request")
	f.IntVar(&r.TTL, "ttl", 64, "`hops` that it may go")
	f.IntVar(&r.Length, "length", 0, "`octets` of the IP packet; those of its headers if nothing is said")
	f.BoolVar(&r.DF, "df", false, "it must not be fragmented")
	f.StringVar(&expect, "expect", "", "exit code 4 unless the `verdict` is forwarded, delivered, dropped, rejected or waits")
	cmd.RegisterFlagCompletionFunc("in", a.complete(ports))
	for name, all := range map[string][]string{"proto": {"icmp", "tcp", "udp"}, "flags": {"S", "SA", "A", "F", "R"}, "expect": verdicts} {
		cmd.RegisterFlagCompletionFunc(name, func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
			return beginning(all, begun), cobra.ShellCompDirectiveNoFileComp
		})
	}
	return cmd
}

// checkExplain refuses what no packet can be, without asking anybody.
func checkExplain(r api.ExplainRequest, f *pflag.FlagSet) error {
	for _, k := range []struct{ flag, value, wanted string }{
		{"--in", r.In, "the port by which the packet comes in"}, {"--src", r.Src, "its source address"}, {"--dst", r.Dst, "its destination address"},
	} {
		if k.value == "" {
			return usagef("%s is wanted: %s", k.flag, k.wanted)
		}
	}
	if err := hostAddress(r.Src, r.Dst); err != nil {
		return err
	}
	if err := protocolWord("--proto", r.Protocol); err != nil {
		return err
	}
	for _, n := range []struct {
		flag           string
		n, least, most int
	}{{"sport", r.SrcPort, 1, 1<<16 - 1}, {"dport", r.DstPort, 1, 1<<16 - 1}, {"icmp-type", r.ICMPType, 0, 255}, {"ttl", r.TTL, 1, 255}, {"length", r.Length, 20, 1<<16 - 1}} {
		if f.Changed(n.flag) {
			if _, err := number("--"+n.flag, strconv.Itoa(n.n), n.least, n.most); err != nil {
				return err
			}
		}
	}
	p := strings.ToLower(r.Protocol)
	if f.Changed("icmp-type") && p != "" && p != "icmp" && p != "1" {
		return usagef("--icmp-type: only icmp has one, and this is %s", p)
	}
	if (p == "" || p == "icmp") && f.Changed("dport") {
		return usagef("--dport: ICMP has no ports: add --proto tcp or --proto udp")
	}
	if (p == "tcp" || p == "udp") && r.DstPort == 0 {
		return usagef("--dport is wanted: the port of the destination, as this is %s", p)
	}
	return nil
}

func (a *app) explain(ctx context.Context, c *client.Client, r api.ExplainRequest, expect string) error {
	e, err := c.Explain(ctx, r)
	if err != nil {
		return err
	}
	if a.json {
		err = a.printJSON([]api.Explanation{e})
	} else {
		var place string
		if place, err = configPlace(ctx, c, e.Steps); err == nil {
			_, err = fmt.Fprint(a.out, explanation(a.screen, e, place))
		}
	}
	if err == nil && expect != "" && e.Verdict != expect {
		return &falseError{fmt.Sprintf("the packet is not %s: it is %s", strings.Replace(expect, "waits", "waiting", 1), verdictWords(e))}
	}
	return err
}

// configPlace is where a step's line stands: in the daemon's file, or where that is another than what
// runs, in what config show prints.
func configPlace(ctx context.Context, c *client.Client, steps []api.ExplainStep) (string, error) {
	if !slices.ContainsFunc(steps, func(s api.ExplainStep) bool { return s.Line > 0 }) {
		return "", nil
	}
	s, err := c.Status(ctx)
	if err != nil || s.ConfigFile == "" || s.Unsaved {
		return "running", err
	}
	return filepath.Base(s.ConfigFile), nil
}

func verdictWords(e api.Explanation) string {
	words := e.Verdict
	switch e.Verdict {
	case "waits":
		words = "waiting for its neighbor"
	}
	if e.Out != "" {
		words += " through " + e.Out
	}
	if e.Reason != "" {
		words += " (" + e.Reason + ")"
	}
	return words
}

func decisionStyle(decision string) style {
	switch decision {
	case "drop", "dropped":
		return red
	case "reject", "rejected", "resolve", "waits":
		return yellow
	}
	return green
}

// explanation draws the stages, a line each, and then what comes of it.
func explanation(s screen, e api.Explanation, place string) string {
	var b strings.Builder
	stage, decision := 0, 0
	for _, k := range e.Steps {
		stage, decision = max(stage, width(k.Stage)), max(decision, width(k.Decision))
	}
	for _, k := range e.Steps {
		b.WriteString(s.paint(bold, k.Stage) + strings.Repeat(" ", stage-width(k.Stage)+gap))
		b.WriteString(s.paint(decisionStyle(k.Decision), k.Decision) + strings.Repeat(" ", decision-width(k.Decision)+gap))
		b.WriteString(stepText(s, k, stage+decision+2*gap, place))
	}
	if len(e.Steps) > 0 {
		b.WriteString("\n")
	}
	below := func(name, value string, st style) {
		if value == "" {
			return
		}
		label := fmt.Sprintf("%-9s", name)
		for i, l := range wrap(label, value, s.width) {
			if rest := strings.TrimPrefix(l, label); i == 0 {
				l = s.paint(dim, label) + s.paint(st, rest)
			}
			b.WriteString(l + "\n")
		}
	}
	below("verdict", verdictWords(e), decisionStyle(e.Verdict))
	below("packet", e.Packet, plain)
	if e.Session != nil {
		how := "would make the "
		if e.Exists {
			how = "belongs to the "
		}
		below("session", how+sessionWords(*e.Session), plain)
	}
	return b.String()
}

// stepText is a step's sentence and its line of the configuration: behind it where there is room, else below.
func stepText(s screen, k api.ExplainStep, indent int, place string) string {
	config := ""
	if k.Line > 0 {
		config = fmt.Sprintf("%s:%d: %s", place, k.Line, strings.TrimPrefix(strings.TrimSpace(k.Source), "- "))
	}
	if s.width == 0 || indent+width(k.Text)+gap+width(config) <= s.width {
		line := k.Text
		if config != "" {
			line += strings.Repeat(" ", gap) + s.paint(dim, config)
		}
		return line + "\n"
	}
	room := max(s.width-indent, leastFlexible)
	var b strings.Builder
	margin := ""
	for _, l := range wrap("", k.Text, room) {
		b.WriteString(margin + l + "\n")
		margin = strings.Repeat(" ", indent)
	}
	if config != "" {
		b.WriteString(margin + s.paint(dim, cut(config, room)) + "\n")
	}
	return b.String()
}
