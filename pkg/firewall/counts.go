package firewall

// RuleCount is what a rule has matched, since the first policy that had it.
type RuleCount struct {
	Packets, Bytes uint64
	LogsSuppressed uint64 // packets that were to be logged, beyond the limit of logs
	Crowded        uint64 // packets of sources for which the rule's buckets or limits for each source had no room
}

func (c *counter) read() RuleCount {
	return RuleCount{Packets: c.packets.Load(), Bytes: c.bytes.Load(), LogsSuppressed: c.silenced.Load()}
}

func (r *rule) read() RuleCount {
	n := r.count.read()
	if r.limiter != nil {
		n.Crowded += r.limiter.crowded.Load()
	}
	if r.quota != nil {
		n.Crowded += r.quota.crowded.Load()
	}
	return n
}

// Counts of the rules, of the access rules, of the pairs (by index), and of the defaults. Verdicts that the caller has cached are not
// among them.
func (p *Policy) Counts() (rules, access, pairs []RuleCount, byDefault RuleCount) {
	read := func(all []rule) []RuleCount {
		out := make([]RuleCount, len(all))
		for i := range all {
			out[i] = all[i].read()
		}
		return out
	}
	pairs = make([]RuleCount, len(p.pairs))
	for i, c := range p.pairs {
		pairs[i] = c.read()
	}
	return read(p.rules.rules), read(p.access), pairs, p.byDefault.read()
}

// Bytes is the memory that the classifiers hold.
func (p *Policy) Bytes() (n int) {
	if p.rules.classifier != nil {
		n = p.rules.classifier.bytes()
	}
	for _, doors := range p.doors {
		for _, d := range doors {
			if d.classifier != nil {
				n += d.classifier.bytes()
			}
		}
	}
	return n
}
