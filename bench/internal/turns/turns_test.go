package turns

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestTurnsGoThereAndBackInEveryRound(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Rounds: 2}, "a b c c b a a b c c b a"},
		{Options{Rounds: 1, Quick: true}, "a b c"},
	} {
		var order []string
		contenders := []string{"a", "b", "c"}
		if err := c.o.Run(contenders, func(name string) error { order = append(order, name); return nil }); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(order, " "); got != c.want || !slices.Equal(contenders, []string{"a", "b", "c"}) {
			t.Errorf("%+v: %s, expected %s", c.o, got, c.want)
		}
	}
}

func TestATurnThatFailsEndsTheRun(t *testing.T) {
	turns := 0
	err := (&Options{Rounds: 2}).Run([]string{"a", "b"}, func(string) error { turns++; return errors.New("broken") })
	if err == nil || err.Error() != "a: broken" || turns != 1 {
		t.Errorf("%d turns, then %v", turns, err)
	}
}

func TestAQuickRunIsOneRoundAndWritesNoRow(t *testing.T) {
	var o Options
	f := o.Flags("bench/x", "", "")
	f.IntVar(&o.Rounds, "rounds", 3, "")
	if err := o.Parse(f, []string{"-quick", "-dir", "d"}); err != nil || o != (Options{Dir: "d", Rounds: 1, Quick: true}) {
		t.Errorf("%+v, %v", o, err)
	}
}
