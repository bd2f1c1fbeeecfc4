package simnet

import (
	"fmt"
	"math/rand/v2"
)

// Graph says which routers each link joins.
type Graph struct {
	Name    string
	Routers int
	Links   [][]int // of each link, the routers on it: two or more
}

// Line joins each router to the next.
func Line(n int) Graph {
	g := Graph{Name: fmt.Sprintf("line of %d", n), Routers: n}
	for i := range n - 1 {
		g.Links = append(g.Links, []int{i, i + 1})
	}
	return g
}

// Ring is a line whose ends are joined; n is at least 3.
func Ring(n int) Graph {
	g := Line(n)
	g.Name = fmt.Sprintf("ring of %d", n)
	g.Links = append(g.Links, []int{n - 1, 0})
	return g
}

// Mesh joins every router to every other.
func Mesh(n int) Graph {
	g := Graph{Name: fmt.Sprintf("mesh of %d", n), Routers: n}
	for i := range n {
		for j := range i {
			g.Links = append(g.Links, []int{j, i})
		}
	}
	return g
}

// Tree joins each router but the first to a random one before it.
func Tree(n int, rng *rand.Rand) Graph {
	g := Graph{Name: fmt.Sprintf("tree of %d", n), Routers: n}
	for i := 1; i < n; i++ {
		g.Links = append(g.Links, []int{rng.IntN(i), i})
	}
	return g
}

// Random is a tree with half as many further links, every fourth of which is a network of several routers.
func Random(n int, rng *rand.Rand) Graph {
	g := Tree(n, rng)
	g.Name = fmt.Sprintf("random net of %d", n)
	for range n / 2 {
		size := 2
		if rng.IntN(4) == 0 {
			size = min(n, 3+rng.IntN(3))
		}
		if n >= size {
			g.Links = append(g.Links, rng.Perm(n)[:size])
		}
	}
	return g
}

// Textbook is the network of five routers, A to E, and six links that distance-vector routing is
// taught with: links 1 to 6 join A-B, B-C, A-D, B-E, C-E and D-E. Link n is Links[n-1].
func Textbook() Graph {
	return Graph{Name: "textbook", Routers: 5, Links: [][]int{{0, 1}, {1, 2}, {0, 3}, {1, 4}, {2, 4}, {3, 4}}}
}
