package control

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"vrouterd/internal/control/api"
)

// maxConfirm is the longest time that an unconfirmed configuration may run.
const maxConfirm = 24 * time.Hour

// changeEndpoints change the running router.
func changeEndpoints() []endpoint {
	return []endpoint{
		{http.MethodPut, "/v1/ports/{name}", operates, nil, setPort},
		{http.MethodPost, "/v1/routes", operates, nil, addRoute},
		{http.MethodDelete, "/v1/routes", operates, []string{"to", "via", "port", "type", "distance", "metric", "tag"}, deleteRoute},
		{http.MethodPost, "/v1/neighbors", operates, nil, addNeighbor},
		{http.MethodDelete, "/v1/neighbors", operates, []string{"address", "port", "mac"}, deleteNeighbor},
		{http.MethodPost, "/v1/neighbors/flush", operates, nil, flushNeighbors},
	}
}

// configEndpoints read and change the configuration.
func configEndpoints() []endpoint {
	return []endpoint{
		{http.MethodGet, "/v1/config", operates, nil, showConfig},
		{http.MethodPut, "/v1/config", operates, []string{"confirm"}, applyConfig},
		{http.MethodPost, "/v1/config/check", operates, nil, checkConfig},
		{http.MethodPost, "/v1/config/diff", operates, nil, diffConfig},
		{http.MethodPost, "/v1/config/confirm", operates, nil, confirmConfig},
		{http.MethodPost, "/v1/config/rollback", operates, nil, rollbackConfig},
		{http.MethodGet, "/v1/config/history", reads, nil, func(c *call) error { return rows(c, c.backend.ConfigHistory()) }},
		{http.MethodPost, "/v1/config/save", operates, nil, saveConfig},
	}
}

func setPort(c *call) error {
	var change api.PortChange
	if err := c.decode(&change); err != nil {
		return err
	}
	if change.Up == nil {
		return usage("up: true or false is wanted")
	}
	if err := c.backend.SetPort(c.peer.Peer, c.parameter, *change.Up); err != nil {
		return err
	}
	return c.done()
}

func addRoute(c *call) error {
	var r api.RouteSpec
	if err := c.decode(&r); err != nil {
		return err
	}
	if err := checkNewRoute(r); err != nil {
		return err
	}
	if err := c.backend.AddRoute(c.peer.Peer, r); err != nil {
		return err
	}
	return c.done()
}

// deleteRoute takes the route in the query, because a DELETE's body has no
// defined meaning (RFC 9110 section 9.3.5).
func deleteRoute(c *call) error {
	q := c.request.URL.Query()
	r := api.RouteSpec{To: q.Get("to"), Via: q["via"], Port: q.Get("port"), Type: q.Get("type")}
	for _, number := range []struct {
		name string
		high int
		into *int
	}{{"distance", 255, &r.Distance}, {"metric", 1<<31 - 1, &r.Metric}, {"tag", 1<<32 - 1, &r.Tag}} {
		n, err := c.queryInt(number.name, 0, number.high)
		if err != nil {
			return err
		}
		*number.into = n
	}
	if err := checkRoute(r); err != nil {
		return err
	}
	if err := c.backend.DeleteRoute(c.peer.Peer, r); err != nil {
		return err
	}
	return c.done()
}

func addNeighbor(c *call) error {
	var n api.NeighborSpec
	if err := c.decode(&n); err != nil {
		return err
	}
	if err := address("address", n.Address); err != nil {
		return err
	}
	if n.Port == "" {
		return usage("port: the name of the port that the neighbor is at is wanted")
	}
	if err := hardware(n.MAC); err != nil {
		return err
	}
	if err := c.backend.AddNeighbor(c.peer.Peer, n); err != nil {
		return err
	}
	return c.done()
}

func hardware(mac string) error {
	if m, err := net.ParseMAC(mac); err != nil || len(m) != 6 {
		return usage("mac: %.40q is not an Ethernet address like 02:00:5e:10:00:01", mac)
	}
	return nil
}

func deleteNeighbor(c *call) error {
	q := c.request.URL.Query()
	n := api.NeighborSpec{Address: q.Get("address"), Port: q.Get("port"), MAC: q.Get("mac")}
	if err := address("address", n.Address); err != nil {
		return err
	}
	if n.MAC != "" {
		if err := hardware(n.MAC); err != nil {
			return err
		}
	}
	if err := c.backend.DeleteNeighbor(c.peer.Peer, n); err != nil {
		return err
	}
	return c.done()
}

func flushNeighbors(c *call) error {
	var f api.NeighborFlush
	if err := c.decode(&f); err != nil {
		return err
	}
	n, err := c.backend.FlushNeighbors(f.Port)
	if err != nil {
		return err
	}
	return c.object(api.Flushed{Neighbors: n})
}

func showConfig(c *call) error {
	c.Header().Set("Content-Type", "application/yaml")
	_, err := io.WriteString(c, c.backend.ConfigText())
	return err
}

func checkConfig(c *call) error {
	source, err := c.text("the configuration")
	if err != nil {
		return err
	}
	if err := c.backend.ConfigCheck(source); err != nil {
		return err
	}
	return c.done()
}

func diffConfig(c *call) error {
	source, err := c.text("the configuration")
	if err != nil {
		return err
	}
	diff, err := c.backend.ConfigDiff(source)
	if err != nil {
		return err
	}
	c.Header().Set("Content-Type", "text/x-diff; charset=utf-8")
	_, err = io.WriteString(c, diff)
	return err
}

func applyConfig(c *call) error {
	confirm, err := parseConfirm(c.request.URL.Query().Get("confirm"))
	if err != nil {
		return err
	}
	source, err := c.text("the configuration")
	if err != nil {
		return err
	}
	result, err := c.backend.ConfigApply(c.peer.Peer, source, confirm)
	if err != nil {
		return err
	}
	result.Changes = filled(result.Changes)
	return c.object(result)
}

// parseConfirm takes a Go duration or a number of seconds; "" is no confirmation.
func parseConfirm(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if n, e := strconv.Atoi(text); e == nil && n >= 0 && n <= int(maxConfirm/time.Second) {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err != nil || d < time.Second || d > maxConfirm {
		return 0, usage("confirm=%.40q: a time from 1s to 24h is wanted, like 60s", text)
	}
	return d, nil
}

func confirmConfig(c *call) error {
	if _, err := c.body(0); err != nil {
		return err
	}
	if err := c.backend.ConfigConfirm(); err != nil {
		return err
	}
	return c.done()
}

func rollbackConfig(c *call) error {
	var r api.Rollback
	if err := c.decode(&r); err != nil {
		return err
	}
	if err := within("revisions", r.Revisions, 1, 1<<20); err != nil {
		return err
	}
	result, err := c.backend.ConfigRollback(c.peer.Peer, r.Revisions)
	if err != nil {
		return err
	}
	result.Changes = filled(result.Changes)
	return c.object(result)
}

func saveConfig(c *call) error {
	if _, err := c.body(0); err != nil {
		return err
	}
	path, err := c.backend.ConfigSave()
	if err != nil {
		return err
	}
	return c.object(api.Saved{Path: path})
}
