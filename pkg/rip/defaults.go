package rip

import "time"

// withDefaults fills in what was left out.
func (c Config) withDefaults() Config {
	if c.Send == SendInherit {
		c.Send = SendV2
	}
	if c.Receive == ReceiveInherit {
		c.Receive = ReceiveV2
	}
	c.Timers = c.Timers.over(Timers{Update: 30 * time.Second})
	if c.TriggerHoldMin <= 0 && c.TriggerHoldMax <= 0 {
		scale := min(1, float64(c.Timers.Update)/float64(30*time.Second))
		c.TriggerHoldMin = time.Duration(float64(time.Second) * scale)
		c.TriggerHoldMax = time.Duration(float64(5*time.Second) * scale)
	}
	c.TriggerHoldMin = max(c.TriggerHoldMin, time.Millisecond)
	c.TriggerHoldMax = max(c.TriggerHoldMax, c.TriggerHoldMin)
	orDuration(&c.TriggerDelay, 10*time.Millisecond)
	orDuration(&c.BurstGap, 50*time.Millisecond)
	if c.Distance == 0 {
		c.Distance = 120
	}
	if c.Default.Metric == 0 || c.Default.Metric >= Infinity {
		c.Default.Metric = 1
	}
	orInt(&c.TriggerBurst, 1)
	orInt(&c.MaxPaths, 16)
	orInt(&c.Burst, 40)
	orInt(&c.MaxRoutes, 65536)
	orInt(&c.MaxRoutesPerNeighbor, max(c.MaxRoutes/2, 1))
	orInt(&c.MaxLearned, 4*c.MaxRoutes)
	orInt(&c.MaxNeighbors, 256)
	orInt(&c.NeighborRate, 1024)
	orInt(&c.NeighborBurst, 4096)
	ports := make(map[PortID]PortConfig, len(c.Ports))
	for id, p := range c.Ports {
		if p.Send == SendInherit {
			p.Send = c.Send
		}
		if p.Receive == ReceiveInherit {
			p.Receive = c.Receive
		}
		if p.Cost == 0 || p.Cost >= Infinity {
			p.Cost = 1
		}
		p.Timers = p.Timers.over(c.Timers)
		if p.Auth != nil && p.Auth.Type == AuthNone {
			p.Auth = nil
		}
		ports[id] = p
	}
	c.Ports = ports
	return c
}

// over fills in from what the instance has. A port that changes only its update
// interval gets the multiples of it.
func (t Timers) over(base Timers) Timers {
	if t.Update <= 0 {
		t.Update = base.Update
		orDuration(&t.Timeout, base.Timeout)
		orDuration(&t.Garbage, base.Garbage)
	}
	t.Update = max(t.Update, 100*time.Millisecond)
	orDuration(&t.Timeout, 6*t.Update)
	orDuration(&t.Garbage, 4*t.Update)
	return t
}

func orDuration(d *time.Duration, standard time.Duration) {
	if *d <= 0 {
		*d = standard
	}
}

func orInt(n *int, standard int) {
	if *n <= 0 {
		*n = standard
	}
}
