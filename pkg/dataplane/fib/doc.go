// Package fib is the forwarding table: it finds the longest IPv4 prefix that
// covers an address, for readers that never wait and a writer that never stops
// them.
//
// # Layout
//
// A lookup walks down at most five levels, of which nearly all addresses of an
// Internet table need three:
//
//	 11 bits     7 bits       up to 6 bits     3 bits      5 bits
//	pages ---> slots ----> block ------> block ---> block      (routes of 25 to 32 bits)
//	/11        /18          /24           /27        /32
//	           |            2 to 64 cells, each with an entry: a value,
//	           |            a link, or 0: nothing longer
//	           +-- high half: the value where the block says 0
//	short[a>>24]: the value where the slot says 0 (routes of 0 to 8 bits)
//
// The first two levels are plain arrays; pages of slots exist only for the /11s
// that have routes. Below, a block is an array of cells that are as coarse as its
// routes allow, and the slot says how many address bits a cell spans: one shift gives
// the index. A /18 with one value throughout needs no block, one with a /20 inside
// has 4 cells, one with a /24 has 64.
//
// What makes that fast is that it is short. With independent lookups, as in a
// burst, the processor works ahead into the next ones until its window of some
// hundred instructions is full; the fewer a lookup has, the more of them wait for
// memory together. This one has about thirty on amd64, none of them a branch that goes
// either way, and misses the near caches about twice.
//
// Other layouts were built and measured side by side under a full table. Blocks of
// runs behind a bit map, with a population count for the index (as in Poptrie),
// take half the memory but 1.2 to 1.6 times the time: more instructions, and two
// words of a block, often in two lines, where one will do. They suffer less when
// others crowd the table out of a shared cache, and may then come out ahead. Blocks
// that always have 64 cells take fewer instructions but a third more memory, and
// 1.2 times the time. A direct table of 24 bits (DIR-24-8) needs one load less and
// 64 MB, and is no faster with random addresses, for it misses farther away. The
// levels end at 18 and 24 bits, as in SAIL, because Internet routes do.
//
// Routes are pushed down to the leaves within a /18 only. Routes of 9 to 16 bits
// are in the high halves of the slots and those of up to 8 bits in an array of
// their own, so that a change of a short route touches at most 512 words and
// no block.
//
// Nothing that a reader touches below the head holds a pointer: blocks are
// offsets into one slice, the arena, that the garbage collector does not scan.
// Lookup reads slots and arena without bounds checks (see head.slot); the tests
// hold every reference in the structure to its bounds instead.
//
// # Update
//
// The writer keeps all prefixes in a compact store of its own (store.go). Apply
// enters a batch there, notes which /16s it touches and which of their /24s, and
// then builds every touched block once: the old block is unfolded to its finest
// cells, the dirty ones are painted anew from the store, shorter routes first, and
// the result is folded to the coarsest cells that say the same, placed in the arena
// and published with one store to the slot.
//
// # Why readers are safe
//
// Blocks are immutable from the moment they are linked. A slot is a single word
// that holds the block and the value behind it, so an answer of more than 8 bits
// rests on one atomic load and is right for the instant of that load: the address has
// the route of before a change or the one of after it.
//
// An answer of at most 8 bits rests on two words: a slot that said 0 and then
// short. The writer counts up changes before each round of stores, and within a
// round it stores at most one word that an address depends on; a reader that
// finds the count unchanged has therefore seen two words of one moment, and any
// other reader looks again. A batch that changes both kinds of words goes in
// three rounds: slots with what is added but without what is taken away, short,
// slots as they should be. At every step an address has its old or its new route, for
// the longest of the union is the longest of one of the two. A router that
// replaces a default route by more specific ones never has a hole in between.
//
// Unlinked blocks are given a token of the rcu.Domain and return to the free
// list of their size when no reader is left that might hold them. A full arena is
// replaced by a larger copy with the same offsets, and one that is mostly holes by
// a compacted copy: the new head is published, readers on the old one see it
// frozen at a moment that lies within their lookup, and the garbage collector takes it
// when the last one is gone. So churn costs no memory that it does not win
// back: unused room is at most about a quarter, plus 16 KB.
//
// # Costs
//
// A full table of 901,899 routes with distinct values takes 15 MB for readers, 19 MB
// at the worst under churn, and 10 MB for the writer, and loads in a sixth of a
// second as one batch; a changed route
// costs about a microsecond, a changed default route one and a half (256 words), a
// changed /9, the dearest of the short ones, four (512 words).
// The worst single change is that of a /17 to /24 over many routes longer than 24
// bits: each /24 with such routes inside is built again, a third of a microsecond for each.
// When the arena grows or is compacted the writer, not the readers, pauses for
// some milliseconds under a full table; growth by an eighth makes that rare. An
// empty table takes 15 KB, 100 routes of a laboratory 27 KB for readers and 38 KB for the
// writer. A table whose routes lie far apart pays 1 KB for each /11 and up to half
// a KB for each route, and 10 KB for each /8 on the writer's side. MaxRoutes bounds it all.
package fib
