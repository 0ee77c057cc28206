package spin

import (
	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

// Stubs are interfaces of Spin that are not offered: for components that import them, and that are allowed to get an error where they call them.
// Nobody can hold their connections, so whoever uses one traps.
func Stubs() []host.Interface {
	var all []host.Interface
	for _, s := range []string{"", "@2.0.0"} {
		all = append(all, llmStub("fermyon:spin/llm"+s))
	}
	return append(all, sqliteStub(), sqliteV1Stub(), mqttStub(), databaseStub("mysql", "_"), databaseStub("postgres", "u64"),
		databaseV1Stub("mysql", "mysql-error", "_"), databaseV1Stub("postgres", "pg-error", "u64"))
}

// stub answers an error: its case, and a text where the case has one.
func stub(tag int, text string) canon.HostFunc {
	return func(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
		in.Skip()
		out.Err()
		out.Case(tag)
		if text != "" {
			out.String(text)
		}
	}
}

func notOffered(what string) string { return what + " is not offered here" }

func llmStub(name string) host.Interface {
	fails := stub(1, notOffered("llm")) // runtime-error
	return host.Interface{
		Name: name,
		Types: map[string]string{
			"inferencing-params": "record<max-tokens: u32, repeat-penalty: f32, repeat-penalty-last-n-token-count: u32, temperature: f32, top-k: u32, top-p: f32>",
			"inferencing-result": "record<text: string, usage: record<prompt-token-count: u32, generated-token-count: u32>>",
			"embeddings-result":  "record<embeddings: list<list<f32>>, usage: record<prompt-token-count: u32>>",
			"error":              "variant<model-not-supported, runtime-error(string), invalid-input(string)>",
		},
		Funcs: map[string]host.Func{
			"infer":               {Type: "func(model: string, prompt: string, params: option<inferencing-params>) -> result<inferencing-result, error>", Call: fails},
			"generate-embeddings": {Type: "func(model: string, text: list<string>) -> result<embeddings-result, error>", Call: fails},
		},
	}
}

var sqliteTypes = map[string]string{
	"value":        "variant<integer(s64), real(f64), text(string), blob(list<u8>), null>",
	"query-result": "record<columns: list<string>, rows: list<record<values: list<value>>>>",
	"error":        "variant<no-such-database, access-denied, invalid-connection, database-full, io(string)>",
}

func sqliteStub() host.Interface {
	return host.Interface{
		Name: "fermyon:spin/sqlite@2.0.0", Types: sqliteTypes, Resources: map[string]host.Drop{"connection": nil},
		Funcs: map[string]host.Func{
			"[static]connection.open":    {Type: "func(database: string) -> result<own<connection>, error>", Call: stub(1, "")},
			"[method]connection.execute": {Type: "func(self: borrow<connection>, statement: string, parameters: list<value>) -> result<query-result, error>", Call: stub(2, "")},
		},
	}
}

func sqliteV1Stub() host.Interface {
	return host.Interface{
		Name: "fermyon:spin/sqlite", Types: sqliteTypes,
		Funcs: map[string]host.Func{
			"open":    {Type: "func(database: string) -> result<u32, error>", Call: stub(1, "")},
			"execute": {Type: "func(conn: u32, statement: string, parameters: list<value>) -> result<query-result, error>", Call: stub(2, "")},
			"close":   {Type: "func(conn: u32)", Call: func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) { in.Skip() }},
		},
	}
}

func mqttStub() host.Interface {
	fails := stub(3, notOffered("mqtt"))
	return host.Interface{
		Name: "fermyon:spin/mqtt@2.0.0", Resources: map[string]host.Drop{"connection": nil},
		Types: map[string]string{
			"error": "variant<invalid-address, too-many-connections, connection-failed(string), other(string)>",
			"qos":   "enum<at-most-once, at-least-once, exactly-once>",
		},
		Funcs: map[string]host.Func{
			"[static]connection.open":    {Type: "func(address: string, username: string, password: string, keep-alive-interval-in-secs: u64) -> result<own<connection>, error>", Call: fails},
			"[method]connection.publish": {Type: "func(self: borrow<connection>, topic: string, payload: list<u8>, qos: qos) -> result<_, error>", Call: fails},
		},
	}
}

// databaseTypes are those of MySQL and PostgreSQL, in both generations.
var databaseTypes = map[string]string{
	"db-data-type": "enum<boolean, int8, int16, int32, int64, uint8, uint16, uint32, uint64, floating32, floating64, str, binary, other>",
	"db-value": "variant<boolean(bool), int8(s8), int16(s16), int32(s32), int64(s64), uint8(u8), uint16(u16), uint32(u32), uint64(u64), " +
		"floating32(f32), floating64(f64), str(string), binary(list<u8>), db-null, unsupported>",
	"parameter-value": "variant<boolean(bool), int8(s8), int16(s16), int32(s32), int64(s64), uint8(u8), uint16(u16), uint32(u32), uint64(u64), " +
		"floating32(f32), floating64(f64), str(string), binary(list<u8>), db-null>",
	"row-set":     "record<columns: list<record<name: string, data-type: db-data-type>>, rows: list<list<db-value>>>",
	"error":       "variant<connection-failed(string), bad-parameter(string), query-failed(string), value-conversion-failed(string), other(string)>",
	"mysql-error": oldDatabaseError,
	"pg-error":    oldDatabaseError,
}

const oldDatabaseError = "variant<success, connection-failed(string), bad-parameter(string), query-failed(string), value-conversion-failed(string), other-error(string)>"

func databaseStub(what, executed string) host.Interface {
	fails := stub(0, notOffered(what))
	return host.Interface{
		Name: "fermyon:spin/" + what + "@2.0.0", Types: databaseTypes, Resources: map[string]host.Drop{"connection": nil},
		Funcs: map[string]host.Func{
			"[static]connection.open":    {Type: "func(address: string) -> result<own<connection>, error>", Call: fails},
			"[method]connection.query":   {Type: "func(self: borrow<connection>, statement: string, params: list<parameter-value>) -> result<row-set, error>", Call: fails},
			"[method]connection.execute": {Type: "func(self: borrow<connection>, statement: string, params: list<parameter-value>) -> result<" + executed + ", error>", Call: fails},
		},
	}
}

func databaseV1Stub(what, failure, executed string) host.Interface {
	fails := stub(1, notOffered(what))
	return host.Interface{
		Name: "fermyon:spin/" + what, Types: databaseTypes,
		Funcs: map[string]host.Func{
			"query":   {Type: "func(address: string, statement: string, params: list<parameter-value>) -> result<row-set, " + failure + ">", Call: fails},
			"execute": {Type: "func(address: string, statement: string, params: list<parameter-value>) -> result<" + executed + ", " + failure + ">", Call: fails},
		},
	}
}
