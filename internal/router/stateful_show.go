package router

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"vrouterd/internal/config"
	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/firewall"
	"vrouterd/pkg/nat"
)

var protocolNames = map[uint8]string{
	1: "icmp", 6: "tcp", 17: "udp", 33: "dccp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah", 58: "icmpv6", 89: "ospf",
	112: "vrrp", 132: "sctp", 136: "udplite",
}

// protocolName is the name of an IP protocol, or its number.
func protocolName(p uint8) string {
	if name, ok := protocolNames[p]; ok {
		return name
	}
	return strconv.Itoa(int(p))
}

// parseProtocol reads a name or a number; "" is 0, any.
func parseProtocol(s string) (uint8, error) {
	if s == "" {
		return 0, nil
	}
	for n, name := range protocolNames {
		if name == strings.ToLower(s) {
			return n, nil
		}
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || n == 0 {
		return 0, &api.Error{Code: api.Usage, Message: fmt.Sprintf("%q is no protocol: tcp, udp, icmp or a number from 1 to 255 is wanted", s)}
	}
	return uint8(n), nil
}

// endpoint is an address with its port or ICMP identifier, where it has one.
func endpoint(a packet.Addr, port uint16) string {
	if port == 0 {
		return a.String()
	}
	return netip.AddrPortFrom(a.Netip(), port).String()
}

// sessionRow is a session as tables show it, from the inside's point of view.
func (r *Router) sessionRow(i *conntrack.Info, names map[uint16]string) api.Session {
	o, p := &i.Original, &i.Reply
	row := api.Session{
		Protocol: protocolName(o.Protocol), State: i.State.String(), Direction: "out",
		InPort: names[i.In], OutPort: names[i.Out],
		IdleSeconds:    float64(i.Idle) / conntrack.TicksPerSecond,
		ExpiresSeconds: float64(i.Expires) / conntrack.TicksPerSecond,
	}
	out, in := conntrack.Original, conntrack.Reply
	if i.Flags&conntrack.FromOutside != 0 {
		row.Direction = "in"
		out, in = in, out
		row.Inside, row.Outside, row.Remote = endpoint(p.Src, p.SrcPort), endpoint(o.Dst, o.DstPort), endpoint(o.Src, o.SrcPort)
		if o.Protocol == packet.ProtoICMP { // the identifier goes with the request
			row.Inside, row.Outside = endpoint(p.Src, p.DstPort), endpoint(o.Dst, o.SrcPort)
			row.Remote = o.Src.String()
		}
	} else {
		row.Inside, row.Outside, row.Remote = endpoint(o.Src, o.SrcPort), endpoint(p.Dst, p.DstPort), endpoint(o.Dst, o.DstPort)
	}
	row.PacketsOut, row.BytesOut = i.Packets[out], i.Bytes[out]
	row.PacketsIn, row.BytesIn = i.Packets[in], i.Bytes[in]
	return row
}

// portLabels are the names of ports by number, for tables that are worded off the control loop.
func (r *Router) portLabels() map[uint16]string {
	names := map[uint16]string{0: "router"}
	for id, p := range r.byID {
		names[uint16(id)] = p.cfg.Name
	}
	return names
}

const (
	pageDefault = 1000
	pageMost    = 10000
)

// pageOf reads what a query has in common for sessions and mappings.
func pageOf(q *api.SessionQuery) (f conntrack.Filter, cursor uint64, limit int, err error) {
	if q.Address != "" {
		a, err := parseAddress(q.Address)
		if err != nil {
			return f, 0, 0, err
		}
		f.Address = packet.AddrFrom(a)
	}
	if q.Port < 0 || q.Port > 65535 {
		return f, 0, 0, &api.Error{Code: api.Usage, Message: fmt.Sprintf("port %d is not within 1 to 65535", q.Port)}
	}
	f.Port, f.NATOnly = uint16(q.Port), q.NATOnly
	if f.Protocol, err = parseProtocol(q.Protocol); err != nil {
		return f, 0, 0, err
	}
	if q.Cursor != "" {
		if cursor, err = strconv.ParseUint(q.Cursor, 16, 64); err != nil {
			return f, 0, 0, &api.Error{Code: api.Usage, Message: "the cursor is none that an earlier page has given as next"}
		}
	}
	limit = cmp.Or(q.Limit, pageDefault)
	if limit < 1 || limit > pageMost {
		return f, 0, 0, &api.Error{Code: api.Usage, Message: fmt.Sprintf("the limit is %d; a page has 1 to %d rows", q.Limit, pageMost)}
	}
	return f, cursor, limit, nil
}

func cursorText(c uint64) string {
	if c == 0 {
		return ""
	}
	return strconv.FormatUint(c, 16)
}

// worded is what is needed to word rows away from the control loop.
type worded struct {
	ports    map[uint16]string
	natRules []config.NATRule
	forwards []config.Forward
	numbers  map[uint16]int // indexes of rules and, behind them, forwards by the number that sessions keep
	firewall *config.Firewall
	policy   *firewall.Policy
}

func (r *Router) words() (w worded, err error) {
	err = r.do(func() {
		w = worded{ports: r.portLabels(), natRules: r.config.NAT, forwards: r.config.Forwards, numbers: r.stateful.numbers.index, firewall: r.config.Firewall, policy: r.stateful.firewall}
	})
	return w, err
}

// natName names what a session is translated by. What the configuration has no longer has no name.
func (w *worded) natName(number uint16) string {
	if n, known := w.numbers[number]; known {
		return w.natNameAt(n)
	}
	return ""
}

// natNameAt names a rule, or a forward behind them, by its index.
func (w *worded) natNameAt(n int) string {
	switch {
	case n < 0:
		return ""
	case n < len(w.natRules):
		one := &w.natRules[n]
		return cmp.Or(one.Name, string(one.Type)+" out "+one.Out)
	case n-len(w.natRules) < len(w.forwards):
		return forwardName(&w.forwards[n-len(w.natRules)])
	}
	return "mapping"
}

func forwardName(f *config.Forward) string {
	return cmp.Or(f.Name, fmt.Sprintf("forward %s %s %s", f.In, protocolName(f.Protocol), f.Ports))
}

// Sessions is a page of `show sessions` and `show nat sessions`. The control loop is not held up by it.
func (r *Router) Sessions(q api.SessionQuery) (page api.SessionPage, err error) {
	f, cursor, limit, err := pageOf(&q)
	if err != nil {
		return page, err
	}
	w, err := r.words()
	if err != nil {
		return page, err
	}
	s := r.stateful
	s.paging <- struct{}{}
	defer func() { <-s.paging }()
	page.Sessions = []api.Session{}
	for {
		part, next := s.sessions.Page(s.pages, r.sessionTick(), f, cursor, limit-len(page.Sessions))
		for i := range part {
			row := r.sessionRow(&part[i], w.ports)
			row.NAT = w.natName(part[i].NATRule)
			row.Rule = w.ruleName(part[i].Rule)
			page.Sessions = append(page.Sessions, row)
		}
		if cursor = next; next == 0 || len(page.Sessions) >= limit {
			break
		}
	}
	page.Total, page.Next = s.sessions.Len(), cursorText(cursor)
	return page, nil
}

// NATMappings is a page of `show nat mappings`.
func (r *Router) NATMappings(q api.SessionQuery) (page api.MappingPage, err error) {
	f, cursor, limit, err := pageOf(&q)
	if err != nil {
		return page, err
	}
	w, err := r.words()
	if err != nil {
		return page, err
	}
	match := func(row *nat.Row) bool {
		return (f.Address == 0 || row.Inside == f.Address || row.Outside == f.Address || row.Remote == f.Address) &&
			(f.Port == 0 || row.InsidePort == f.Port || row.OutsidePort == f.Port) &&
			(f.Protocol == 0 || row.Protocol == f.Protocol)
	}
	page.Mappings = []api.NATMapping{}
	now := r.sessionTick()
	for {
		part, next := r.stateful.mappings.Page(now, cursor, limit-len(page.Mappings), match)
		for i := range part {
			page.Mappings = append(page.Mappings, w.mappingRow(&part[i], now))
		}
		if cursor = next; next == 0 || len(page.Mappings) >= limit {
			break
		}
	}
	page.Total, page.Next = r.stateful.mappings.Counts().Mappings, cursorText(cursor)
	return page, nil
}

func (w *worded) mappingRow(m *nat.Row, now conntrack.Tick) api.NATMapping {
	row := api.NATMapping{
		Protocol: protocolName(m.Protocol), Inside: endpoint(m.Inside, m.InsidePort), Outside: endpoint(m.Outside, m.OutsidePort),
		By: m.By.String(), Owner: m.Owner, Sessions: m.Sessions,
	}
	if m.Remote != 0 {
		row.Remote = m.Remote.String()
	}
	if m.Expires > now {
		row.ExpiresSeconds = float64(m.Expires-now) / conntrack.TicksPerSecond
	}
	if m.Rule >= 0 && m.Rule < len(w.natRules) {
		row.Rule = w.natNameAt(m.Rule)
		row.Filtering = string(w.natRules[m.Rule].Filtering)
	}
	return row
}

// NATRules are the rows of `show nat`: rules in their order, then forwards, then how many mappings hosts have asked for.
func (r *Router) NATRules() (rows []api.NATRule) {
	var w worded
	var outside map[string][]string
	var policy *nat.Policy
	r.do(func() {
		policy = r.stateful.nat
		w = worded{natRules: r.config.NAT, forwards: r.config.Forwards, numbers: r.stateful.numbers.index}
		outside = map[string][]string{}
		for i := range r.config.Ports {
			name := r.config.Ports[i].Name
			for _, a := range r.outsideOf(r.config, name) {
				outside[name] = append(outside[name], a.String())
			}
		}
	})
	var made []uint64
	if policy != nil {
		rules, forwards := policy.SessionsMade()
		made = append(rules, forwards...)
	}
	made = append(made, make([]uint64, len(w.natRules)+len(w.forwards))...)
	sessions, mappings := r.natUse(&w)
	for i := range w.natRules {
		n := &w.natRules[i]
		row := api.NATRule{
			Kind: "rule", Name: n.Name, Type: string(n.Type), Port: n.Out, Match: natMatch(n), Outside: textOf(n.To),
			Filtering: string(n.Filtering), Sessions: sessions[i], Mappings: mappings[i], Created: made[i], Line: n.Pos.Line,
		}
		switch {
		case n.Type == config.NATMasquerade, n.Type == config.NATCGNAT && len(n.To) == 0:
			row.Outside = append([]string{}, outside[n.Out]...)
		case n.Type == config.NATOneToOne:
			row.Outside, row.To, row.Filtering = []string{n.Outside.String()}, n.Inside.String(), ""
		case n.Type == config.NATNone:
			row.Filtering = ""
		}
		rows = append(rows, row)
	}
	for i := range w.forwards {
		f := &w.forwards[i]
		row := api.NATRule{
			Kind: "forward", Name: f.Name, Type: "forward", Port: f.In,
			Match:   protocolName(f.Protocol) + " port " + f.Ports.String(),
			Outside: append([]string{}, outside[f.In]...), To: forwardTarget(f),
			Sessions: sessions[len(w.natRules)+i], Created: made[len(w.natRules)+i], Line: f.Pos.Line,
		}
		if f.Address.IsValid() {
			row.Outside = []string{f.Address.String()}
		}
		if len(f.Source) > 0 {
			row.Match += " from " + prefixWords(f.Source)
		}
		rows = append(rows, row)
	}
	return rows
}

// forwardTarget is where a forward leads, as the configuration writes it.
func forwardTarget(f *config.Forward) string {
	if f.ToPort == 0 || f.ToPort == f.Ports.Min {
		return f.To.String()
	}
	return netip.AddrPortFrom(f.To, f.ToPort).String()
}

func prefixWords(list []netip.Prefix) string {
	out := make([]string, 0, len(list))
	for _, p := range list {
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}

// natMatch is what a rule applies to, in words.
func natMatch(n *config.NATRule) string {
	var parts []string
	if n.Protocol != 0 {
		parts = append(parts, protocolName(n.Protocol))
	}
	if len(n.Source) > 0 {
		parts = append(parts, "from "+prefixWords(n.Source))
	}
	if len(n.Destination) > 0 {
		parts = append(parts, "to "+prefixWords(n.Destination))
	}
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, " ")
}

// textOf lists a pool by its ends.
func textOf(pool []netip.Addr) []string {
	out := []string{}
	for i := 0; i < len(pool); {
		j := i
		for j+1 < len(pool) && pool[j].Next() == pool[j+1] {
			j++
		}
		if j > i+1 {
			out = append(out, pool[i].String()+"-"+pool[j].String())
		} else {
			for k := i; k <= j; k++ {
				out = append(out, pool[k].String())
			}
		}
		i = j + 1
	}
	return out
}

// natUse counts the live sessions of rules and forwards, and the mappings of rules.
func (r *Router) natUse(w *worded) (sessions, mappings []int) {
	s, n := r.stateful, len(w.natRules)+len(w.forwards)
	sessions, mappings = make([]int, n), make([]int, n)
	s.paging <- struct{}{}
	defer func() { <-s.paging }()
	now := r.sessionTick()
	for cursor := uint64(0); ; {
		part, next := s.sessions.Page(s.pages, now, conntrack.Filter{NATOnly: true}, cursor, pageMost)
		for i := range part {
			if k, known := w.numbers[part[i].NATRule]; known && k < n {
				sessions[k]++
			}
		}
		if cursor = next; next == 0 {
			break
		}
	}
	for cursor := uint64(0); ; {
		part, next := s.mappings.Page(now, cursor, pageMost, nil)
		for i := range part {
			if k := part[i].Rule; k >= 0 && k < n {
				mappings[k]++
			}
		}
		if cursor = next; next == 0 {
			return sessions, mappings
		}
	}
}

// FlushSessions ends sessions; how many.
func (r *Router) FlushSessions(_ api.Peer, what api.NATFlush) (n int, err error) {
	f, _, _, err := pageOf(&api.SessionQuery{Address: what.Address, Port: what.Port, Protocol: what.Protocol})
	if err != nil {
		return 0, err
	}
	s := r.stateful
	s.paging <- struct{}{}
	n = s.sessions.Flush(s.pages, r.sessionTick(), f)
	<-s.paging
	return n, r.do(func() {
		r.event("sessions_flushed", "nat", plural(n, "session")+" ended by command", map[string]string{"sessions": strconv.Itoa(n)})
	})
}
