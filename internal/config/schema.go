package config

import (
	"encoding/json"

	"github.com/google/jsonschema-go/jsonschema"
)

// Schema returns the JSON Schema (draft 2020-12) of a configuration, for
// editors and other people's tools. It says of each key what the decoder's table says, so
// that the two cannot differ in their keys. What needs more than one key to judge, such as
// subnets that overlap, is beyond it: Parse is the judge.
func Schema() []byte {
	s := mappingSchema(tables().top)
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.Title = "vrouterd configuration"
	s.Description = "Configuration of one IPv4 router, as YAML."
	s.MinProperties = jsonschema.Ptr(1)
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // the schema is made of constants of this package
	}
	return append(text, '\n')
}

// mappingSchema describes a mapping by its table.
func mappingSchema[T any](keys []key[T]) *jsonschema.Schema {
	s := &jsonschema.Schema{
		Type:                 "object",
		Properties:           make(map[string]*jsonschema.Schema, len(keys)),
		AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}},
	}
	for _, k := range keys {
		if k.refused != "" {
			continue
		}
		// The same kind of value may stand behind several keys.
		property := k.schema.CloneSchemas()
		property.Description = k.doc
		s.Properties[k.name] = property
		s.PropertyOrder = append(s.PropertyOrder, k.name)
		if k.required {
			s.Required = append(s.Required, k.name)
		}
	}
	return s
}

// listSchema describes a list of mappings.
func listSchema[T any](keys []key[T]) *jsonschema.Schema {
	return &jsonschema.Schema{Types: []string{"array", "null"}, Items: mappingSchema(keys)}
}

// nullable lets a mapping be left empty: `lan:` with nothing behind it.
func nullable(s *jsonschema.Schema) *jsonschema.Schema {
	s.Type, s.Types = "", []string{s.Type, "null"}
	return s
}
