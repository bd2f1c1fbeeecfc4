package nat

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// twin is the mappings as plainly as can be: it knows what exists, says what must come of a packet, and, where the
// choice is free, what may.
type twin struct {
	inside, outside map[twinPort]*twinMapping
	filtering       Filtering
}

type twinPort struct {
	protocol uint8
	addr     packet.Addr
	port     uint16
}

type twinMapping struct {
	inside, outside twinPort
	references      int
	sources         int // of them, sessions from inside
	permissions     map[packet.Addr]int
	explicit        bool
	remote          packet.Addr
	own             bool
}

// The twin's network: 32 ports, of which forwards have some, so that all is soon exhausted.
const twinMin, twinMax = 2000, 2031

func twinForwards() []Forward {
	return []Forward{
		{In: wan, Protocol: protocolTCP, PortMin: 2005, PortMax: 2005, Outside: []packet.Addr{public}, To: host1, ToPort: 80},
		{In: wan, Protocol: protocolUDP, PortMin: 2010, PortMax: 2012, Outside: []packet.Addr{public}, To: host2, ToPort: 3000, Source: nets("198.51.100.6/31", "192.168.0.0/16")},
	}
}

// forward finds where an outside port leads.
func (w *twin) forward(at twinPort) (to twinPort, source bool, found bool) {
	switch {
	case at.protocol == protocolTCP && at.port == 2005:
		return twinPort{protocolTCP, host1, 80}, false, true
	case at.protocol == protocolUDP && 2010 <= at.port && at.port <= 2012:
		return twinPort{protocolUDP, host2, at.port + 990}, true, true
	}
	return twinPort{}, false, false
}

// forwarded finds by which outside port an inside one is forwarded.
func (w *twin) forwarded(in twinPort) (at twinPort, found bool) {
	for port := uint16(twinMin); port <= twinMax; port++ {
		at = twinPort{in.protocol, public, port}
		if to, _, is := w.forward(at); is && to == in {
			return at, true
		}
	}
	return twinPort{}, false
}

// free reports whether a port may be chosen.
func (w *twin) free(at twinPort) bool {
	_, _, forwarded := w.forward(at)
	return w.outside[at] == nil && !forwarded
}

func (w *twin) anyFree(protocol uint8) bool {
	for port := uint16(twinMin); port <= twinMax; port++ {
		if w.free(twinPort{protocol, public, port}) {
			return true
		}
	}
	return false
}

// mustBe is the outside port that a new mapping must have; where none is prescribed, may reports what it may have.
func (w *twin) mustBe(in twinPort) (at twinPort, must bool) {
	if at, is := w.forwarded(in); is && w.outside[at] == nil {
		return at, true
	}
	kept := twinPort{in.protocol, public, in.port}
	if (in.addr == public || twinMin <= in.port && in.port <= twinMax) && w.free(kept) {
		return kept, true
	}
	return twinPort{}, false
}

func (w *twin) make(in, out twinPort, indexed bool) *twinMapping {
	x := &twinMapping{inside: in, outside: out, permissions: map[packet.Addr]int{}, own: in.addr == public}
	w.outside[out] = x
	if indexed {
		w.inside[in] = x
	}
	return x
}

func (w *twin) drop(x *twinMapping) {
	if x.references > 0 || x.explicit {
		return
	}
	delete(w.outside, x.outside)
	if w.inside[x.inside] == x {
		delete(w.inside, x.inside)
	}
}

// twinRun drives both with the operations that stand in data.
type twinRun struct {
	*bed
	twin
	data []byte
	live []twinSession
}

type twinSession struct {
	session
	source, target *twinMapping
	remote         packet.Addr
}

func (r *twinRun) next(n int) int {
	if len(r.data) == 0 {
		return 0
	}
	v := int(r.data[0])
	r.data = r.data[1:]
	return v % n
}

func (r *twinRun) protocol() uint8 {
	return []uint8{protocolTCP, protocolUDP, protocolUDP, protocolICMP}[r.next(4)]
}

func (r *twinRun) insidePort(protocol uint8) twinPort {
	hosts := []packet.Addr{host1, host2, host2 + 1, public}
	ports := []uint16{80, 3000, 3001, 2000, 2001, 2002, 2005, 2010, 2011, 5001, 5002, 5003, 123}
	return twinPort{protocol, hosts[r.next(len(hosts))], ports[r.next(len(ports))]}
}

func (r *twinRun) remote() packet.Addr { return server + packet.Addr(r.next(3)) }

// source lets the first packet of a session out, and holds the result against the twin.
func (r *twinRun) source(k conntrack.Key, hairpin int) (Source, *twinMapping, bool) {
	in := twinPort{k.Protocol, k.Src, k.SrcPort}
	foreseen, why := r.m.Preview(r.p, r.now, wan, hairpin, &k)
	s, reason := r.m.Outbound(r.p, r.now, wan, hairpin, &k)
	if foreseen != s || why != reason {
		r.t.Fatalf("%v: Preview foresaw %+v (%v), Outbound came to %+v (%v)", in, foreseen, why, s, reason)
	}
	x := r.inside[in]
	must, is := r.mustBe(in)
	if reason != ReasonNone {
		if x != nil || is || in.addr == public || r.anyFree(in.protocol) || reason != ReasonNoPorts {
			r.t.Fatalf("%v was refused (%v), yet has %v, may keep %v, or a port is free", in, reason, x, is)
		}
		return s, nil, false
	}
	out := twinPort{k.Protocol, s.Addr, s.Port}
	switch {
	case x != nil && x.outside != out:
		r.t.Fatalf("%v has %v, and now %v", in, x.outside, out)
	case x == nil && is && must != out:
		r.t.Fatalf("%v became %v, expected %v", in, out, must)
	case x == nil && !is && (!r.free(out) || out.addr != public || in.addr != public && (out.port < twinMin || out.port > twinMax)):
		r.t.Fatalf("%v became %v, which is not free", in, out)
	}
	if !s.Mapped || s.Changed != (in != out) {
		r.t.Fatalf("%v: %+v", in, s)
	}
	if x == nil {
		x = r.make(in, out, true)
	}
	x.references++
	x.sources++
	x.permissions[k.Dst]++
	return s, x, true
}

// target lets the first packet of a session in.
func (r *twinRun) target(in uint16, k conntrack.Key) (Target, *twinMapping, bool) {
	at := twinPort{k.Protocol, k.Dst, k.DstPort}
	got := r.arrive(in, k)
	sender := k.Src
	if in == lan {
		sender = public
	}
	want := Target{Kind: Unclaimed}
	x := r.outside[at]
	to, restricted, forwarded := r.forward(at)
	switch {
	case k.Protocol == protocolICMP:
		x = nil
	case forwarded && restricted && k.Src != server && k.Src>>16 != host1>>16:
		want.Kind = Filtered
	case forwarded:
		want = Target{Kind: ToForward, Addr: to.addr, Port: to.port, Mapped: x == nil || x.inside == to}
		if x == nil {
			x = r.make(to, at, r.inside[to] == nil)
		}
	case x == nil || x.inside == x.outside:
	case x.own:
		want.Kind = Filtered
	case r.retired(x):
		want.Kind = Filtered
	case x.explicit && (x.remote == 0 || x.remote == sender):
		want = Target{Kind: ToForward, Addr: x.inside.addr, Port: x.inside.port, Mapped: true}
	case !x.explicit && (r.filtering == EndpointIndependent || r.filtering == AddressDependent && x.permissions[sender] > 0):
		want = Target{Kind: ToMapping, Addr: x.inside.addr, Port: x.inside.port, Mapped: true}
	default:
		want.Kind = Filtered
	}
	if got.Kind != want.Kind || got.Mapped != want.Mapped || want.Mapped && (got.Addr != want.Addr || got.Port != want.Port) {
		r.t.Fatalf("%v by port %d came to %+v, expected %+v (mapping %+v)", k, in, got, want, x)
	}
	if !got.Mapped {
		x = nil
	} else {
		x.references++
	}
	return got, x, got.Kind == ToForward || got.Kind == ToMapping
}

// retired reports whether a mapping is not the one of its inside port any more, and was not asked for by name.
func (r *twinRun) retired(x *twinMapping) bool { return !x.explicit && r.inside[x.inside] != x }

func (r *twinRun) step() {
	switch r.next(8) {
	case 0, 1: // from inside
		in := r.insidePort(r.protocol())
		k := conntrack.MakeKey(in.protocol, in.addr, in.port, r.remote(), 53)
		if s, x, passed := r.source(k, -1); passed {
			r.live = append(r.live, twinSession{opened(k, s), x, nil, k.Dst})
		}
	case 2: // from outside
		k := conntrack.MakeKey(r.protocol(), r.remote(), 53, public, uint16(twinMin+r.next(32)))
		if target, x, passed := r.target(wan, k); passed {
			r.live = append(r.live, twinSession{entered(k, target, Source{}), nil, x, 0})
		}
	case 3, 4: // hairpin
		from := r.insidePort(r.protocol())
		if from.addr == public {
			from.addr = host1
		}
		r.hairpin(conntrack.MakeKey(from.protocol, from.addr, from.port, public, uint16(twinMin+r.next(32))))
	case 5:
		r.request()
	case 6, 7:
		if len(r.live) > 0 {
			i := r.next(len(r.live))
			r.end(r.live[i])
			r.live = slices.Delete(r.live, i, i+1)
		}
	}
}

func (r *twinRun) hairpin(k conntrack.Key) {
	target, x, passed := r.target(lan, k)
	if !passed {
		return
	}
	if target.Rules != 0 {
		r.t.Fatalf("%v is a hairpin, yet came to %+v", k, target)
	}
	s, y, passed := r.source(k, target.Rules)
	if !passed {
		r.m.ReleaseTarget(r.now, &k, &target)
		if x != nil {
			x.references--
			r.drop(x)
		}
		return
	}
	r.live = append(r.live, twinSession{entered(k, target, s), y, x, k.Dst})
}

// request asks for an explicit mapping, or ends one.
func (r *twinRun) request() {
	in := r.insidePort([]uint8{protocolTCP, protocolUDP}[r.next(2)])
	if in.addr == public {
		return
	}
	if r.next(2) == 0 {
		ended := false
		for _, x := range r.outside {
			if x.explicit && x.inside == in {
				x.explicit, x.remote, ended = false, 0, true
				if x.sources == 0 && r.inside[in] == x {
					delete(r.inside, in) // outside alone uses it
				}
				r.drop(x)
			}
		}
		if got := r.m.Delete(r.now, in.protocol, in.addr, in.port); got != ended {
			r.t.Fatalf("Delete of %v: %v, expected %v", in, got, ended)
		}
		return
	}
	e := Explicit{Protocol: in.protocol, Inside: in.addr, InsidePort: in.port, OutsidePort: uint16(twinMin + r.next(32))}
	exact := r.next(2) == 0
	if r.next(4) == 0 {
		e.Remote = r.remote()
	}
	asked := twinPort{in.protocol, public, e.OutsidePort}
	to, _, forwarded := r.forward(asked)
	made, reason := r.m.Add(r.p, r.now, wan, e, exact)
	switch reason {
	case ReasonTaken:
		if x := r.outside[asked]; !exact || x == nil && (!forwarded || to == in) || x != nil && x.inside == in && r.inside[in] == x {
			r.t.Fatalf("%v was refused port %d (%+v)", in, e.OutsidePort, x)
		}
		return
	case ReasonNoPorts:
		if r.anyFree(in.protocol) || exact {
			r.t.Fatalf("%v was refused, yet a port is free", in)
		}
		return
	case ReasonNone:
	default:
		r.t.Fatalf("%v was refused: %v", in, reason)
	}
	out := twinPort{made.Protocol, made.Outside, made.OutsidePort}
	x := r.outside[out]
	if made.Remote != e.Remote || exact && out != asked || x != nil && x.inside != in {
		r.t.Fatalf("%+v (exact: %v) made %+v, where %+v stood", e, exact, made, x)
	}
	if x == nil {
		if _, _, is := r.forward(out); is && out != asked {
			if at, own := r.forwarded(in); !own || at != out {
				r.t.Fatalf("%v was given %v, which is forwarded", in, out)
			}
		}
		old := r.inside[in]
		if old != nil && !old.explicit {
			delete(r.inside, in) // retired
			old = nil
		}
		x = r.make(in, out, old == nil)
	}
	x.explicit, x.remote = true, e.Remote
}

func (r *twinRun) end(s twinSession) {
	r.close(s.session)
	if x := s.source; x != nil {
		x.references--
		x.sources--
		if x.permissions[s.remote]--; x.permissions[s.remote] == 0 {
			delete(x.permissions, s.remote)
		}
		r.drop(x)
	}
	if x := s.target; x != nil {
		x.references--
		r.drop(x)
	}
}

// compare holds the whole of the mappings against the twin.
func (r *twinRun) compare() {
	rows, next := r.m.Page(r.now, 0, 10000, nil)
	for next != 0 {
		var more []Row
		more, next = r.m.Page(r.now, next, 10000, nil)
		rows = append(rows, more...)
	}
	seen := map[twinPort]bool{}
	for _, row := range rows {
		out := twinPort{row.Protocol, row.Outside, row.OutsidePort}
		x := r.outside[out]
		if seen[out] || x == nil || x.inside != (twinPort{row.Protocol, row.Inside, row.InsidePort}) || x.references != row.Sessions || x.own != row.Router {
			r.t.Fatalf("%+v, expected %+v (seen before: %v)", row, x, seen[out])
		}
		seen[out] = true
	}
	if len(rows) != len(r.outside) {
		r.t.Fatalf("%d mappings, expected %d", len(rows), len(r.outside))
	}
}

// runTwin plays operations, and ends everything.
func runTwin(t testing.TB, filtering Filtering, data []byte) {
	rule := home()
	rule.PortMin, rule.PortMax, rule.Filtering = twinMin, twinMax, filtering
	r := &twinRun{
		bed:  newBed(t, []Rule{rule}, twinForwards()...),
		twin: twin{map[twinPort]*twinMapping{}, map[twinPort]*twinMapping{}, filtering},
		data: data,
	}
	for steps := 0; len(r.data) > 0; steps++ {
		r.step()
		if steps%16 == 0 {
			r.compare()
		}
	}
	r.compare()
	for _, s := range r.live {
		r.end(s)
	}
	for _, x := range r.outside {
		r.m.Delete(r.now, x.inside.protocol, x.inside.addr, x.inside.port)
	}
	r.empty()
}

func TestMappingsAgreeWithTheirTwin(t *testing.T) { // RFC 4787 REQ-1, REQ-3, REQ-8, REQ-9
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 4787))
			data := make([]byte, 6000)
			for i := range data {
				data[i] = byte(random.Uint32())
			}
			runTwin(t, Filtering(seed%3), data)
		})
	}
}

func FuzzOperations(f *testing.F) {
	f.Add(uint8(0), []byte{0, 1, 0, 3, 0, 2, 1, 0, 3, 3, 0, 1, 5, 6, 0})
	f.Add(uint8(1), []byte{3, 1, 0, 3, 5, 4, 1, 2, 3, 5, 7, 0, 7, 0})
	f.Add(uint8(2), []byte{5, 1, 0, 3, 1, 7, 0, 1, 2, 1, 0, 7, 5, 1, 0, 3, 0})
	f.Fuzz(func(t *testing.T, filtering uint8, data []byte) {
		runTwin(t, Filtering(filtering%3), data[:min(len(data), 4000)])
	})
}
