package types

import "fmt"

// Kind says what sort of type a Type is.
type Kind uint8

// The kinds of value types. Stream, Future and ErrorContext can be named in types; what handles their values refuses them.
const (
	Bool Kind = iota + 1
	S8
	U8
	S16
	U16
	S32
	U32
	S64
	U64
	F32
	F64
	Char
	String
	ErrorContext
	Record
	Tuple
	Variant
	Enum
	Option
	Result
	Flags
	List
	FixedList // a list whose length is part of its type, kept in place
	Map       // a list of tuples of key and value, in all but its name
	Own
	Borrow
	Stream
	Future
)

var kindNames = [...]string{
	Bool: "bool", S8: "s8", U8: "u8", S16: "s16", U16: "u16", S32: "s32", U32: "u32", S64: "s64", U64: "u64", F32: "f32", F64: "f64",
	Char: "char", String: "string", ErrorContext: "error-context", Record: "record", Tuple: "tuple", Variant: "variant", Enum: "enum",
	Option: "option", Result: "result", Flags: "flags", List: "list", FixedList: "fixed-length list", Map: "map", Own: "own", Borrow: "borrow",
	Stream: "stream", Future: "future",
}

// String gives the kind's name in WIT.
func (k Kind) String() string {
	if int(k) < len(kindNames) && k != 0 {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Primitive tells whether the kind alone is the type.
func (k Kind) Primitive() bool { return k >= Bool && k <= ErrorContext }

// CoreType is one of the core value types that component values flatten to. The values are those of the core binary format, and of wazero's
// api.ValueType.
type CoreType byte

// The core types of flat values.
const (
	CoreI32 CoreType = 0x7f
	CoreI64 CoreType = 0x7e
	CoreF32 CoreType = 0x7d
	CoreF64 CoreType = 0x7c
)

func (c CoreType) String() string {
	switch c {
	case CoreI32:
		return "i32"
	case CoreI64:
		return "i64"
	case CoreF32:
		return "f32"
	case CoreF64:
		return "f64"
	}
	return fmt.Sprintf("core type %#x", byte(c))
}

// Join gives the core type that a flat position has where cases of a variant put a and b there.
func Join(a, b CoreType) CoreType {
	switch {
	case a == b:
		return a
	case a == CoreI32 && b == CoreF32, a == CoreF32 && b == CoreI32:
		return CoreI32
	}
	return CoreI64
}
