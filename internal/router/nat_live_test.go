package router

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
	"vrouterd/internal/port"
)

// quickSYNs shortens the time for which SYNs are held.
func (l *lab) quickSYNs(d time.Duration) { l.do(func() { l.stateful.held.hold = d }) }

// RFC 5382 REQ-4: silence first, then port unreachable.
func TestAnUnsolicitedSYNIsAnsweredLate(t *testing.T) {
	for _, c := range []struct{ name, to string }{{"router", "203.0.113.1:81"}, {"filtered", "203.0.113.1:4000"}} {
		t.Run(c.name, func(t *testing.T) {
			l := runHome(t, strings.Replace(home, "type: masquerade", "type: masquerade, filtering: address_and_port_dependent", 1))
			far := l.host("wan")
			l.pings(far, "203.0.113.1")
			l.host("lan").SendPacket(tcp("192.168.1.2:4000", "203.0.113.9:443", packet.TCPSyn)) // the mapping of 4000
			eventually(t, "the mapping", func() bool { return l.stateful.mappings.Counts().Mappings >= 1 })
			l.quickSYNs(time.Hour)
			got := taken(far, func(ip packet.IPv4) bool { return ip.Protocol() == 1 || ip.Protocol() == 6 })
			for range 3 {
				far.SendPacket(tcp("203.0.113.9:5555", c.to, packet.TCPSyn))
			}
			held := func() (n int) { l.do(func() { n = len(l.stateful.held.waiting) }); return n }
			eventually(t, "they are held", func() bool { return held() == 3 })
			for len(got) > 0 {
				if ip := <-got; ip.Protocol() == 1 || ip[33]&packet.TCPRst != 0 {
					t.Errorf("answered at once: %s", flowOf(ip))
				}
			}
			for _, s := range l.sessionsOf() {
				if s.Remote == "203.0.113.9:5555" {
					t.Errorf("what nobody wants has a session: %+v", s)
				}
			}
			l.do(func() { // their time is over
				for i := range l.stateful.held.waiting {
					l.stateful.held.waiting[i].due = time.Now()
				}
			})
			for range 3 {
				if ip := next(t, "answer", got); ip.Protocol() != 1 || ip[20] != packet.ICMPUnreachable || ip[21] != packet.ICMPPortUnreachable {
					t.Errorf("answered by %x", []byte(ip))
				}
			}
			if n := l.dropped("nat_unsolicited") + l.dropped("nat_filtered"); n != 3 {
				t.Errorf("%d are counted", n)
			}
		})
	}
}

// RFC 5382 REQ-2, REQ-4: the other side opens too, and nothing is ever said about the first SYN.
func TestASimultaneousOpenGetsThrough(t *testing.T) {
	l := runHome(t, home)
	far, in := l.host("wan"), l.host("lan")
	l.pings(far, "203.0.113.1")
	l.pings(in, "203.0.113.1")
	l.quickSYNs(time.Hour)
	out := taken(far, func(ip packet.IPv4) bool { return ip.Protocol() == 1 || ip.Protocol() == 6 })
	back := taken(in, ofProtocol(packet.ProtoTCP))
	far.SendPacket(tcp("203.0.113.9:443", "203.0.113.1:4000", packet.TCPSyn))
	eventually(t, "the SYN is held", func() bool { n := 0; l.do(func() { n = len(l.stateful.held.waiting) }); return n == 1 })
	in.SendPacket(tcp("192.168.1.2:4000", "203.0.113.9:443", packet.TCPSyn))
	if s := flowOf(next(t, "SYN from inside", out)); s != "tcp 203.0.113.1:4000 -> 203.0.113.9:443" {
		t.Error(s)
	}
	l.do(func() {
		for i := range l.stateful.held.waiting {
			l.stateful.held.waiting[i].due = time.Now()
		}
	})
	far.SendPacket(tcp("203.0.113.9:443", "203.0.113.1:4000", packet.TCPSyn)) // sent once more
	if ip := next(t, "SYN from outside", back); flowOf(ip) != "tcp 203.0.113.9:443 -> 192.168.1.2:4000" {
		t.Error(flowOf(ip))
	}
	eventually(t, "nothing is held", func() bool { n := 0; l.do(func() { n = len(l.stateful.held.waiting) }); return n == 0 })
	l.do(func() {})
	if len(out) != 0 {
		t.Errorf("something was answered: %s", flowOf(<-out))
	}
}

func TestHeldSYNsAreBounded(t *testing.T) {
	l := runHome(t, home)
	far := l.host("wan")
	l.pings(far, "203.0.113.1")
	const flood = maxHeld + 500
	for i := range flood {
		far.SendPacket(tcp(fmt.Sprintf("203.0.113.9:%d", 2000+i), "203.0.113.1:81", packet.TCPSyn))
	}
	eventually(t, "all are counted", func() bool { return l.dropped("nat_unsolicited")+l.dropped("punt_queue") == flood })
	l.do(func() {
		if n := len(l.stateful.held.waiting); n > maxHeld {
			t.Errorf("%d SYNs are held", n)
		}
	})
}

// stream sends numbered datagrams as long as do works, and reports those that are missing at the end.
func stream(t *testing.T, l *lab, from, to string, do func()) (source string) {
	t.Helper()
	got := taken(l.host(to), ofProtocol(packet.ProtoUDP))
	in := l.host(from)
	src := in.Address().String() + ":4000"
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	sent, received := 0, 0
	sources := map[string]bool{}
	tick := time.NewTicker(500 * time.Microsecond)
	defer tick.Stop()
	take := func(ip packet.IPv4) {
		received++
		sources[flowOf(ip)] = true
	}
	for after := 0; after < 50; {
		select {
		case <-tick.C:
			in.SendPacket(udp(src, "203.0.113.9:9", []byte("data")))
			sent++
			select {
			case <-done:
				after++
			default:
			}
		case ip := <-got:
			take(ip)
		}
	}
	eventually(t, fmt.Sprintf("all of %d datagrams arrive", sent), func() bool {
		for len(got) > 0 {
			take(<-got)
		}
		return received == sent
	})
	if len(sources) != 1 {
		t.Errorf("the stream changed its source: %v", sources)
	}
	for s := range sources {
		source = s
	}
	l.host(to).OnFrame(nil)
	return source
}

func TestAChangeKeepsAllowedSessionsWithoutALostPacket(t *testing.T) {
	l := runHome(t, home)
	l.pings(l.host("lan"), "203.0.113.9")
	texts := []string{
		forwarded,
		home + "firewall: home\n",
		forwarded + "firewall: home\n",
		home + "sessions: {max: 2048}\n",
		strings.Replace(home, "  lan:", "  more: {address: 192.168.7.1/24}\n  lan:", 1),
		strings.Replace(home, "[{out", "[{out: wan, type: none, source: 192.168.5.0/24}, {out", 1),
		home,
	}
	stream(t, l, "lan", "wan", func() {
		for _, text := range texts {
			if _, err := l.ConfigApply(tester, text, 0); err != nil {
				t.Errorf("%v\n%s", err, text)
			}
		}
		for range 3 {
			spec := api.ForwardSpec{In: "wan", Protocol: "tcp", Port: "99", To: "192.168.5.5"}
			if err := l.AddForward(tester, spec); err != nil {
				t.Error(err)
			}
			if err := l.DeleteForward(tester, spec); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestForwardsByCommandTakeEffectAtOnceAndEndWithTheirSessions(t *testing.T) {
	l := runHome(t, home)
	far := l.host("wan")
	serveTCP(t, l.host("srv"), 80)
	spec := api.ForwardSpec{In: "wan", Protocol: "tcp", Port: "8080", To: "192.168.5.5:80", Name: "web"}
	if err := l.AddForward(tester, spec); err != nil {
		t.Fatal(err)
	}
	c := dialTCP(t, far, "203.0.113.1:8080")
	echoes(t, c, pattern(1000))
	if !strings.Contains(l.ConfigText(), "8080") {
		t.Error("the forward is not in the configuration")
	}
	if err := l.DeleteForward(tester, api.ForwardSpec{In: "wan", Protocol: "tcp", Port: "8080"}); err != nil {
		t.Fatal(err)
	}
	if n := len(l.sessionsOf()); n != 0 {
		t.Errorf("%d sessions outlive their forward: %+v", n, l.sessionsOf())
	}
	if e := l.happens("sessions_flushed"); e.Fields["sessions"] != "1" {
		t.Errorf("%+v", e)
	}
	in := taken(l.host("srv"), ofProtocol(packet.ProtoTCP))
	fmt.Fprint(c, "more")
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if n, err := c.Read(make([]byte, 10)); err == nil { // the router itself has no such connection
		t.Errorf("%d octets were answered", n)
	}
	if len(in) != 0 {
		t.Errorf("it came through: %s", flowOf(<-in))
	}
	expectError(t, l.DeleteForward(tester, spec), api.NotFound, "8080")
}

func TestANewOutsideAddressEndsTheSessionsOfTheOld(t *testing.T) {
	l := runHome(t, home)
	l.pings(l.host("lan"), "203.0.113.9")
	got := taken(l.host("wan"), ofProtocol(packet.ProtoUDP))
	say := func() packet.IPv4 {
		l.host("lan").SendPacket(udp("192.168.1.2:4000", "203.0.113.9:9", nil))
		return next(t, "datagram", got)
	}
	if src := say().Src().String(); src != "203.0.113.1" {
		t.Fatal(src)
	}
	l.apply(strings.Replace(home, "203.0.113.1/24", "[203.0.113.1/24, 203.0.113.77/24]", 1))
	if src := say().Src().String(); src != "203.0.113.1" {
		t.Errorf("the session has changed its address to %s although it still stands", src)
	}
	l.apply(strings.Replace(home, "203.0.113.1/24", "203.0.113.77/24", 1))
	for _, s := range l.sessionsOf() {
		if strings.HasPrefix(s.Outside, "203.0.113.1:") {
			t.Errorf("a session has an address that is gone: %+v", s)
		}
	}
	if src := say().Src().String(); src != "203.0.113.77" {
		t.Errorf("the source is %s", src)
	}
}

func TestNATAndFirewallMayBeRemovedAndComeBack(t *testing.T) {
	w := homeHosts()
	o := w.hosts["wan"]
	o.Gateway = netip.MustParseAddr("203.0.113.1")
	w.hosts["wan"] = o
	l := runStateful(t, w, home+"firewall: home\n")
	got := taken(l.host("wan"), ofProtocol(packet.ProtoUDP))
	say := func(want string) {
		t.Helper()
		l.host("lan").SendPacket(udp("192.168.1.2:4000", "203.0.113.9:9", nil))
		if s := flowOf(next(t, "datagram", got)); s != want {
			t.Errorf("expected %s, got %s", want, s)
		}
	}
	const bare, translated = "udp 192.168.1.2:4000 -> 203.0.113.9:9", "udp 203.0.113.1:4000 -> 203.0.113.9:9"
	say(translated)
	l.apply(homePorts)
	say(bare)
	if n, m := l.stateful.sessions.Len(), l.stateful.mappings.Counts().Mappings; n != 0 || m != 0 {
		t.Errorf("%d sessions and %d mappings without a use", n, m)
	}
	l.apply(homePorts + "firewall: {zones: {in: {ports: [lan]}, out: {ports: [wan]}}, policy: [{from: in, to: out, action: accept}]}\n")
	say(bare)
	l.apply(home)
	say(translated)
	if _, err := l.ConfigRollback(tester, 1); err != nil { // to the firewall alone
		t.Fatal(err)
	}
	say(bare)
	l.apply(homePorts)
	l.pings(l.host("wan"), "192.168.1.2")
}

func TestAPortThatIsRemovedTakesItsSessionsAlong(t *testing.T) {
	l := runHome(t, forwarded+"firewall: home\n")
	l.pings(l.host("lan"), "203.0.113.9")
	l.pings(l.host("srv"), "203.0.113.9")
	without := strings.Replace(home, "  srv: {address: 192.168.5.1/24}\n", "", 1) + "firewall: home\n"
	l.apply(without)
	l.pings(l.host("lan"), "203.0.113.9")
	l.apply(strings.Replace(without, "ports:\n", "ports:\n  new: {address: 192.168.9.1/24}\n", 1)) // may get the number of srv
	l.pings(l.host("lan"), "203.0.113.9")
	l.apply(forwarded + "firewall: home\n")
	serveTCP(t, l.host("srv"), 80)
	echoes(t, dialTCP(t, l.host("wan"), "203.0.113.1:80"), pattern(1000))
	l.do(func() {
		if len(l.reserved) != 0 {
			t.Errorf("numbers stay reserved: %v", l.reserved)
		}
	})
}

func TestAPortThatGoesDownAndComesBackTranslatesAgain(t *testing.T) {
	w := homeHosts()
	l := runStateful(t, w, home)
	l.pings(l.host("lan"), "203.0.113.9")
	w.tell("wan", port.State{Word: "down", Reason: "pulled"})
	eventually(t, "wan is down", func() bool { return !l.port("wan").Up })
	l.host("lan").SendPacket(udp("192.168.1.2:4000", "203.0.113.9:9", nil))
	w.tell("wan", port.State{Up: true, Word: "up"})
	eventually(t, "wan is up", func() bool { return l.port("wan").Up })
	l.pings(l.host("lan"), "203.0.113.9")
}

// Whatever the order in which ports open, nothing leaves untranslated: hosts send from the moment at which their port is there.
func TestNothingLeavesBareWhilePortsOpen(t *testing.T) {
	for _, more := range []string{"", "firewall: home\n", "arp: {probe: true}\n"} {
		t.Run(more, func(t *testing.T) { nothingLeavesBare(t, home+more) })
	}
}

func nothingLeavesBare(t *testing.T, text string) {
	w := homeHosts()
	bare := make(chan string, 1)
	o := w.hosts["wan"]
	o.OnFrame = func(f []byte) bool {
		ip := packet.IPv4(f[packet.EthernetLen:])
		if packet.Ethernet(f).Type() == packet.EtherTypeIPv4 && ip.Src().IsPrivate() {
			select {
			case bare <- flowOf(ip):
			default:
			}
		}
		return false
	}
	w.hosts["wan"] = o
	l := newLab(t, w, Options{})
	stop := make(chan struct{})
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		tick := time.NewTicker(50 * time.Microsecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if e := w.end("lan"); e != nil && e.host != nil {
					e.host.SendPacket(udp("192.168.1.2:4000", "203.0.113.9:9", nil))
				}
			}
		}
	}()
	l.begin(text + "neighbors: [{port: wan, address: 203.0.113.9, mac: 02:00:00:00:aa:09}]\n")
	for range 10 { // nor when the port comes back, or when another number is its own
		l.apply("name: r1\nports:\n  lan: {address: 192.168.1.1/24}\n")
		l.apply(text + "neighbors: [{port: wan, address: 203.0.113.9, mac: 02:00:00:00:aa:09}]\n")
	}
	eventually(t, "the stream runs", func() bool {
		return l.port("wan").TxPackets > 50 || l.dropped("nat_no_address") > 50 // none yet while it is probed
	})
	close(stop)
	<-sent
	select {
	case s := <-bare:
		t.Errorf("left as it was: %s", s)
	default:
	}
}

func TestAPrivateOutsideAddressIsToldOfOnce(t *testing.T) {
	w := newWires()
	l := newLab(t, w, Options{})
	l.start(strings.ReplaceAll(home, "203.0.113.1/24", "100.64.3.1/24"))
	if e := l.happens("double_nat"); e.Subject != "wan" || e.Fields["address"] != "100.64.3.1" {
		t.Errorf("%+v", e)
	}
	l.apply(strings.ReplaceAll(forwarded, "203.0.113.1/24", "100.64.3.1/24"))
	past, _ := l.Events(t.Context())
	n := 0
	for _, e := range past {
		if e.Kind == "double_nat" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("told %d times", n)
	}
}

// Sessions keep their rule's name when other rules come and go, before it or behind it.
func TestSessionsStayWithTheirRule(t *testing.T) {
	l := runHome(t, forwarded)
	serveTCP(t, l.host("srv"), 80)
	c := dialTCP(t, l.host("wan"), "203.0.113.1:80")
	echoes(t, c, pattern(100))
	l.pings(l.host("lan"), "203.0.113.9")
	is := func(when string) {
		t.Helper()
		names := map[string]string{}
		for _, s := range l.sessionsOf() {
			names[s.Protocol] = s.NAT
		}
		if names["tcp"] != "web" || names["icmp"] != "internet" {
			t.Errorf("%s: %v", when, names)
		}
		for _, row := range l.NATRules() {
			if want := map[string]int{"web": 1, "internet": 1}[row.Name]; row.Sessions != want {
				t.Errorf("%s: %s has %d sessions, expected %d", when, row.Name, row.Sessions, want)
			}
		}
	}
	is("at first")
	l.apply(strings.Replace(forwarded, "nat: [", "nat: [{out: wan, type: none, source: 192.168.5.0/24, destination: 198.51.100.0/24, name: first}, ", 1))
	is("a rule came before")
	if err := l.AddForward(tester, api.ForwardSpec{In: "wan", Protocol: "tcp", Port: "99", To: "192.168.5.5", Name: "other"}); err != nil {
		t.Fatal(err)
	}
	is("a forward came")
	l.apply(home + "forwards:\n  - {in: wan, protocol: udp, port: 53, to: 192.168.5.5, name: dns}\n  - {in: wan, protocol: tcp, port: 80, to: 192.168.5.5, name: web}\n")
	is("in another order")
	echoes(t, c, pattern(100))
}

func TestTheRouterItselfGoesOutBesideItsHosts(t *testing.T) {
	for _, firewall := range []string{"", "firewall: home\n"} {
		l := runHome(t, forwarded+firewall)
		l.pings(l.host("lan"), "203.0.113.9")
		for _, to := range []string{"203.0.113.9", "192.168.1.2", "203.0.113.1"} {
			var result string
			if err := l.Ping(t.Context(), api.PingRequest{Address: to, Count: 1, Size: 56, Timeout: 5 * time.Second, Interval: time.Second},
				func(p api.PingReply) { result = p.Result }); err != nil || result != "reply" {
				t.Errorf("%s: %q, %v", to, result, err)
			}
		}
		var hops []string
		if err := l.Traceroute(t.Context(), api.TracerouteRequest{Address: "203.0.113.9", MaxHops: 3, Probes: 1, Timeout: 5 * time.Second},
			func(h api.TracerouteHop) { hops = append(hops, h.Probes[0].From) }); err != nil || strings.Join(hops, " ") != "203.0.113.9" {
			t.Errorf("%v, %v", hops, err)
		}
		// A port of the router's own is no inside host's (RFC 4787 REQ-3).
		got := taken(l.host("wan"), ofProtocol(packet.ProtoUDP))
		l.do(func() { l.send.Output(udp("203.0.113.1:4000", "203.0.113.9:9", nil)) })
		next(t, "the router's own", got)
		l.host("lan").SendPacket(udp("192.168.1.2:4000", "203.0.113.9:9", nil))
		if ip := next(t, "the host's", got); packet.UDP(ip.Payload()).SrcPort() == 4000 {
			t.Error("a host has a port of the router's own")
		}
		l.host("wan").OnFrame(nil)
	}
}
