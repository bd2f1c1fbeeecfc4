// Package order keeps what is due in order, for machines that are given the time: a Heap where every member has a deadline of its own,
// a Chain where all wait alike, so that the order in which they came is that of their deadlines. Members know their
// place in either: moving one costs no search, and none is in it twice.
package order
