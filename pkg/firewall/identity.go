package firewall

import (
	"crypto/sha256"
	"fmt"
	"slices"
)

// identity is what of a rule outlives the configuration: its number, by which sessions name it, and what it has counted. It goes on in
// the next policy to the rule of the same name, or, for one without a name, of the same content.
type identity struct {
	id      uint16
	name    string
	rule    int  // index in Config.Rules or Config.Access; -1: there is no such rule any more
	access  bool // which of the two
	count   *counter
	rate    Rate
	limiter *limiter
	quota   *quota
	spared  bool // retired for the second time
}

// key is what a rule goes on by: the nth of several equal rules as the nth.
func (p *Policy) key(r *Rule, access bool) string {
	content := r.Name
	if content == "" {
		c := *r
		c.Line, c.Rate = 0, nil
		whole := fmt.Appendf(nil, "%+v", c)
		if r.Rate != nil {
			whole = fmt.Appendf(whole, "%+v", *r.Rate)
		}
		sum := sha256.Sum256(whole) // ten thousand rules' contents are megabytes
		content = "\x00" + string(sum[:])
	}
	if access {
		content = "access " + content
	}
	p.equals[content]++
	return fmt.Sprintf("%d %s", p.equals[content], content)
}

// identify finds or makes the identity of a rule. It has a number yet only if it had one before.
func (p *Policy) identify(r *Rule, index int, access bool, before *Policy) *identity {
	key := p.key(r, access)
	i := &identity{name: r.Name, rule: index, access: access}
	if before != nil {
		if old := before.identities[key]; old != nil {
			i.count = old.count
			// With a limit of sessions for each source that was not there before, earlier sessions are not counted: they
			// keep the number under which nobody counts. So do those that were, where there is none any more.
			if (old.quota != nil) == (r.MaxHost > 0) {
				i.id, i.quota = old.id, old.quota
			}
			if r.Rate != nil && old.limiter != nil && old.rate == *r.Rate {
				i.rate, i.limiter = old.rate, old.limiter
			}
		}
	}
	if i.count == nil {
		i.count = &counter{}
	}
	if r.MaxHost > 0 && i.quota == nil {
		i.quota = newQuota()
	}
	if r.Rate != nil && i.limiter == nil {
		i.rate, i.limiter = *r.Rate, newLimiter(r.Rate)
	}
	p.identities[key] = i
	if i.id != 0 {
		p.known[i.id] = i
	}
	return i
}

// retire keeps what sessions of former rules may still name: for one change of the configuration at least, since packets are
// still judged by the old policy while the new one is made, and for as long as there are sessions that count.
func (p *Policy) retire(before *Policy) {
	if before == nil {
		return
	}
	keep := func(old *identity, spared bool) {
		if p.known[old.id] != nil {
			return
		}
		i := *old
		i.rule, i.spared = -1, spared
		p.known[i.id] = &i
		p.retired = append(p.retired, &i)
	}
	for _, old := range before.identities {
		keep(old, false)
	}
	for _, old := range before.retired {
		if !old.spared || old.quota != nil && !old.quota.empty() {
			keep(old, true)
		}
	}
}

// number gives numbers to the rules that have none: those that were free the longest.
func (p *Policy) number(before *Policy) error {
	if before != nil {
		p.lastID = before.lastID
	}
	var fresh []*identity
	for _, i := range p.identities {
		if i.id == 0 {
			fresh = append(fresh, i)
		}
	}
	slices.SortFunc(fresh, func(a, b *identity) int {
		switch {
		case a.access != b.access && b.access:
			return -1
		case a.access != b.access:
			return 1
		}
		return a.rule - b.rule
	})
	for _, i := range fresh {
		for tries := 0; ; tries++ {
			if tries > 1<<16 {
				return fmt.Errorf("firewall: %d rules, and sessions of %d former ones: no number is left for a new rule; flush sessions", len(p.identities), len(p.retired))
			}
			if p.lastID++; p.lastID != 0 && p.known[p.lastID] == nil {
				break
			}
		}
		i.id = p.lastID
		p.known[i.id] = i
	}
	return nil
}

// RuleOf finds the rule that a session names by Verdict.ID: its index in Config.Rules, or -1 when there is no such rule any
// more, and its name; false for a number that nobody remembers. (Access rules have numbers as well; theirs is the index in Config.Access.)
func (p *Policy) RuleOf(id uint16) (index int, name string, ok bool) {
	i := p.known[id]
	if i == nil {
		return -1, "", false
	}
	return i.rule, i.name, true
}
