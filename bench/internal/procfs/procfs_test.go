package procfs

import "testing"

func TestBusyLeavesIdleAndStealOut(t *testing.T) {
	got, err := Busy("cpu  100 20 30 99999 500 4 6 777 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
	if err != nil || got != 1.6 {
		t.Errorf("Busy = %v, %v; want 1.6 s of 160 ticks", got, err)
	}
}

func TestProcessTimeSurvivesParenthesesInTheName(t *testing.T) {
	got, err := ProcessTime("12 (a) b (c)) S 1 12 12 0 -1 4194304 100 0 0 0 250 150 0 0 20 0 5 0 100 1000 50\n")
	if err != nil || got != 4 {
		t.Errorf("ProcessTime = %v, %v; want 4 s of 250 + 150 ticks", got, err)
	}
}

func TestResidentIsInOctets(t *testing.T) {
	got, err := Resident("Name:\tx\nVmHWM:\t   9999 kB\nVmRSS:\t   2048 kB\n")
	if err != nil || got != 2<<20 {
		t.Errorf("Resident = %v, %v; want %d", got, err, 2<<20)
	}
}

func TestUnexpectedTextIsAnError(t *testing.T) {
	for name, f := range map[string]func() error{
		"empty stat":         func() error { _, err := Busy(""); return err },
		"other first line":   func() error { _, err := Busy("cpu0 1 2 3 4 5 6 7\n"); return err },
		"letters in stat":    func() error { _, err := Busy("cpu 1 2 x 4 5 6 7\n"); return err },
		"empty process":      func() error { _, err := ProcessTime(""); return err },
		"short process":      func() error { _, err := ProcessTime("1 (x) S 1 2"); return err },
		"no VmRSS":           func() error { _, err := Resident("Name: kthreadd\n"); return err },
		"VmRSS not a number": func() error { _, err := Resident("VmRSS: many kB\n"); return err },
	} {
		if f() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestModelIsTheFirstProcessor(t *testing.T) {
	if got := Model("processor\t: 0\nmodel name\t: AMD EPYC\nprocessor\t: 1\nmodel name\t: other\n"); got != "AMD EPYC" {
		t.Errorf("Model = %q", got)
	}
	if got := Model("processor: 0\n"); got != "" {
		t.Errorf("Model of a processor without a name = %q", got)
	}
}
