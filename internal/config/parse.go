package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// Parse reads and validates a configuration. filename stands in the errors
// and, without its directory and extension, is the instance's name when the text gives
// none; the file is not opened. The error, when there is one, is [Errors].
func Parse(filename string, source []byte) (*Config, error) {
	document, err := readSource(filename, source)
	if err != nil {
		return nil, err
	}
	return parseDocument(filename, document)
}

// parseDocument validates what readSource has read.
func parseDocument(filename string, document *yaml.Node) (*Config, error) {
	root := document.Content[0]
	d := &decoder{file: filename}
	raw := &rawConfig{root: root}
	readMapping(d, "a configuration", root, tables().top, raw)
	v := &validator{decoder: d, raw: raw, config: &Config{}}
	v.all()
	if err := d.errors.err(); err != nil {
		return nil, err
	}
	return v.config, nil
}

// Load reads and validates a file. A file that cannot be read is an ordinary
// error, which wraps that of the system; a wrong one gives [Errors].
func Load(path string) (*Config, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	defer file.Close()
	// Beyond the limit Parse refuses it; a device that never ends must not fill the memory.
	source, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	return Parse(filepath.Clean(path), source)
}
