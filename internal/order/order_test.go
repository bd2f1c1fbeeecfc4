package order

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestDeadlinesAreTakenInTheirOrder sets, moves, clears and takes deadlines at random, beside a heap that is a plain map.
func TestDeadlinesAreTakenInTheirOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	now := time.Unix(1_000_000, 0)
	var h Heap[int]
	owners := make([]Deadline[int], 50)
	for i := range owners {
		owners[i].Owner = i
	}
	set := map[int]time.Time{}
	for step := range 20_000 {
		d := &owners[rng.IntN(len(owners))]
		switch rng.IntN(4) {
		case 0, 1:
			set[d.Owner] = now.Add(time.Duration(rng.IntN(40)) * time.Second)
			h.Set(d, set[d.Owner])
		case 2:
			delete(set, d.Owner)
			h.Clear(d)
		case 3:
			now = now.Add(time.Duration(rng.IntN(3)) * time.Second)
			for owner, due := h.Take(now); due; owner, due = h.Take(now) {
				at, there := set[owner]
				delete(set, owner)
				for _, other := range set {
					there = there && !other.Before(at)
				}
				if !there || at.After(now) || owners[owner].IsSet() {
					t.Fatalf("step %d: at %v, %d was taken with %v", step, now, owner, at)
				}
			}
		}
		next := time.Time{}
		for owner, at := range set {
			if next.IsZero() || at.Before(next) {
				next = at
			}
			if !owners[owner].IsSet() || !owners[owner].At().Equal(at) {
				t.Fatalf("step %d: %d is set for %v, expected %v", step, owner, owners[owner].At(), at)
			}
		}
		if !h.Sound() || h.Len() != len(set) || !h.Next().Equal(next) {
			t.Fatalf("step %d: %d deadlines, the next at %v; expected %d, %v", step, h.Len(), h.Next(), len(set), next)
		}
	}
}

// TestMembersOfAChainStandInTheOrderInWhichTheyCame moves members between two chains at random, beside two plain slices.
func TestMembersOfAChainStandInTheOrderInWhichTheyCame(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var chains [2]Chain[int]
	var want [2][]int
	members := make([]Place[int], 20)
	for i := range members {
		members[i].Item = i
	}
	for step := range 20_000 {
		p, to := &members[rng.IntN(len(members))], rng.IntN(3)
		for i := range want {
			want[i] = slices.DeleteFunc(want[i], func(item int) bool { return item == p.Item })
		}
		if to == 2 {
			p.Leave()
		} else {
			want[to] = append(want[to], p.Item)
			chains[to].Append(p)
		}
		for i := range chains {
			c := &chains[i]
			var there, back []int
			for at := c.First(); at != nil; at = at.Next() {
				there = append(there, at.Item)
				if at.In() != c {
					t.Fatalf("step %d: %d does not know its chain", step, at.Item)
				}
			}
			for at := c.Last(); at != nil; at = at.Prev() {
				back = append(back, at.Item)
			}
			slices.Reverse(back)
			if !slices.Equal(there, want[i]) || !slices.Equal(back, want[i]) || c.Len() != len(want[i]) {
				t.Fatalf("step %d: %v, %v backwards, %d counted; expected %v", step, there, back, c.Len(), want[i])
			}
		}
		if to == 2 && p.In() != nil {
			t.Fatalf("step %d: %d has left and is in a chain", step, p.Item)
		}
	}
}
