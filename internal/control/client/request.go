package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"vrouterd/internal/control/api"
)

// origin stands where a URL wants a host; the socket is the host.
const origin = "http://vrouterd"

// unwrapURL takes the method and address off a url.Error: they tell a user nothing.
func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// send a request and return the answer if it is a success.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, kind string, body io.Reader) (*http.Response, error) {
	target := origin + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, refusal(resp)
	}
	return resp, nil
}

// refusal is the error that an answer carries.
func refusal(resp *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return fmt.Errorf("the daemon refused (%s) and its reason did not arrive: %w", resp.Status, err)
	}
	var body api.ErrorBody
	if json.Unmarshal(data, &body) != nil || body.Error.Message == "" {
		return fmt.Errorf("the daemon refused: %s: is it a vrouterd?", resp.Status)
	}
	return &body.Error
}

// get a JSON answer into v.
func (c *Client) get(ctx context.Context, path string, query url.Values, v any) error {
	return c.call(ctx, http.MethodGet, path, query, "", nil, v)
}

// post a JSON body; the answer goes into v, nil for none.
func (c *Client) post(ctx context.Context, method, path string, body, v any) error {
	var r io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		r = bytes.NewReader(data)
	}
	return c.call(ctx, method, path, nil, "application/json", r, v)
}

func (c *Client) call(ctx context.Context, method, path string, query url.Values, kind string, body io.Reader, v any) error {
	resp, err := c.send(ctx, method, path, query, kind, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if v == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return c.broken(ctx, err)
	}
	return nil
}

// text sends a configuration and returns a text.
func (c *Client) text(ctx context.Context, method, path string, body string) (string, error) {
	var r io.Reader
	if method != http.MethodGet {
		r = strings.NewReader(body)
	}
	resp, err := c.send(ctx, method, path, nil, "application/yaml", r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", c.broken(ctx, err)
	}
	return string(data), nil
}

// broken explains an answer that ended before its end.
func (c *Client) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the daemon went away in the middle of its answer: see its log")
	}
	return fmt.Errorf("the daemon's answer cannot be read: %w", unwrapURL(err))
}

// stream calls each with every line's object until the stream ends. The error is
// nil at its end, ctx's when that ended, and the daemon's where its last line is one.
func stream[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any, each func(T) error) error {
	var r io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		r = bytes.NewReader(data)
	}
	resp, err := c.send(ctx, method, path, query, "application/json", r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	scan := bufio.NewScanner(resp.Body)
	scan.Buffer(make([]byte, 0, 4096), 1<<20)
	for scan.Scan() {
		line := scan.Bytes()
		if bytes.HasPrefix(line, []byte(`{"error":{`)) {
			var e api.ErrorBody
			if err := json.Unmarshal(line, &e); err == nil && e.Error.Code != "" {
				return &e.Error
			}
		}
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			return c.broken(ctx, err)
		}
		if err := each(v); err != nil {
			return err
		}
	}
	if err := scan.Err(); err != nil {
		return c.broken(ctx, err)
	}
	return ctx.Err()
}

// EventQuery says which of the events kept are wanted.
type EventQuery struct {
	Last  int       // the newest so many; 0: all that are kept
	Since time.Time // not older; zero: any
	After uint64    // later in sequence
}

func (q EventQuery) values() url.Values {
	v := url.Values{}
	if q.Last > 0 {
		v.Set("last", fmt.Sprint(q.Last))
	}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	if q.After > 0 {
		v.Set("after", fmt.Sprint(q.After))
	}
	return v
}

// bodyOf a text: a reader with a known length, so that the daemon sees one too long at once.
func bodyOf(text string) io.Reader { return strings.NewReader(text) }
