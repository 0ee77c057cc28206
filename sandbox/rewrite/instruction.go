package rewrite

// Opcodes that the passes over a body look at (WebAssembly 2.0, section 5.4).
const (
	opUnreachable        = 0x00
	opNop                = 0x01
	opBlock              = 0x02
	opLoop               = 0x03
	opIf                 = 0x04
	opElse               = 0x05
	opEnd                = 0x0b
	opBr                 = 0x0c
	opBrIf               = 0x0d
	opBrTable            = 0x0e
	opReturn             = 0x0f
	opCall               = 0x10
	opCallIndirect       = 0x11
	opReturnCall         = 0x12
	opReturnCallIndirect = 0x13
	opDrop               = 0x1a
	opSelect             = 0x1b
	opLocalGet           = 0x20
	opLocalSet           = 0x21
	opLocalTee           = 0x22
	opGlobalGet          = 0x23
	opGlobalSet          = 0x24
	opTableGet           = 0x25
	opTableSet           = 0x26
	opMemoryGrow         = 0x40
	opI32Const           = 0x41
	opI64Const           = 0x42
	opF32Const           = 0x43
	opF64Const           = 0x44
	opI32LtU             = 0x49
	opI64LtS             = 0x53
	opI32Add             = 0x6a
	opI32Sub             = 0x6b
	opI32Mul             = 0x6c
	opI64Add             = 0x7c
	opI64Sub             = 0x7d
	opI64Mul             = 0x7e
	opI64Shl             = 0x86
	opI64ShrU            = 0x88
	opI64ExtendI32U      = 0xad
	opRefNull            = 0xd0
	opRefFunc            = 0xd2
	opBulk               = 0xfc
	opVector             = 0xfd

	bulkMemoryInit = 8
	bulkDataDrop   = 9
	bulkMemoryCopy = 10
	bulkMemoryFill = 11
	bulkTableInit  = 12
	bulkElemDrop   = 13
	bulkTableCopy  = 14
	bulkTableGrow  = 15
	bulkTableSize  = 16
	bulkTableFill  = 17

	vectorConst = 12

	blockEmpty = 0x40 // block type: neither parameters nor results
	noValues   = -64  // the same as a signed number
)

// instruction is one decoded instruction. bytes[at:end] is how it stands in the module.
type instruction struct {
	at, end   int
	op        byte
	sub       uint32 // behind a prefix
	x, y      uint32 // immediates: indices and labels, in the order of the binary format; of a br_table the count of its labels
	labels    int    // where the labels of a br_table begin; one more than x of them
	blockType int64  // of block, loop and if: a type's index, or negative
}

// next decodes the instruction at the reader's place. It knows what an instruction looks like, not whether its indices exist.
func (r *reader) next(in *instruction) {
	*in = instruction{at: r.at}
	op := r.byte()
	in.op = op
	switch {
	case op <= opNop, op == opElse, op == opEnd, op == opReturn, op == opDrop, op == opSelect, 0x45 <= op && op <= 0xc4, op == 0xd1:
	case op <= opIf:
		in.blockType = r.s33()
	case op == opBr, op == opBrIf, op == opCall, op == opReturnCall, 0x20 <= op && op <= opTableSet, op == opRefFunc:
		in.x = r.u32()
	case op == opCallIndirect, op == opReturnCallIndirect:
		in.x, in.y = r.u32(), r.u32()
	case 0x28 <= op && op <= 0x3e:
		r.memoryArgument()
	case op == opI32Const:
		r.skipSigned(5)
	case op == opI64Const:
		r.skipSigned(10)
	case op == opF32Const:
		r.take(4)
	case op == opF64Const:
		r.take(8)
	case op == opBrTable:
		in.x, in.labels = r.u32(), r.at
		if uint64(in.x) > uint64(len(r.bytes)-r.at) {
			r.fail(Malformed, "a br_table declares %d labels, %d bytes are left", in.x, len(r.bytes)-r.at)
			break
		}
		for range in.x + 1 {
			r.u32()
		}
	case op == 0x1c:
		r.vector("types of a select", maxParams, 1, func() { r.valueType() })
	case op == 0x3f, op == opMemoryGrow:
		r.zero()
	case op == opRefNull:
		r.referenceType()
	case op == opBulk:
		r.bulk(in)
	case op == opVector:
		r.vectorInstruction(in)
	default:
		r.unknown(op)
	}
	in.end = r.at
}

func (r *reader) memoryArgument() {
	if align := r.u32(); align >= 1<<6 {
		r.proposal("several memories (multi-memory)")
	}
	r.u32()
}

// bulk reads the 0xfc family: saturating conversions, bulk memory and table instructions.
func (r *reader) bulk(in *instruction) {
	in.sub = r.u32()
	switch in.sub {
	case 0, 1, 2, 3, 4, 5, 6, 7:
	case bulkMemoryInit:
		in.x = r.u32()
		r.zero()
	case bulkMemoryCopy:
		r.zero()
		r.zero()
	case bulkMemoryFill:
		r.zero()
	case bulkDataDrop, bulkElemDrop, bulkTableGrow, bulkTableSize, bulkTableFill:
		in.x = r.u32()
	case bulkTableInit, bulkTableCopy:
		in.x, in.y = r.u32(), r.u32()
	default:
		r.fail(Unsupported, "instruction 0xfc 0x%02x is not known", in.sub)
	}
}

// vectorInstruction reads the 0xfd family: SIMD.
func (r *reader) vectorInstruction(in *instruction) {
	start := r.at
	in.sub = r.u32()
	if padded := in.sub < 0x80 && r.at-start > 1 || in.sub < 0x4000 && r.at-start > 2; padded {
		r.fail(Malformed, "the number of a vector instruction is padded") // wazero reads it as single bytes
	}
	switch sub := in.sub; {
	case sub <= 11, sub == 92, sub == 93:
		r.memoryArgument()
	case sub == vectorConst, sub == 13:
		r.take(16)
	case 21 <= sub && sub <= 34:
		r.byte()
	case 84 <= sub && sub <= 91:
		r.memoryArgument()
		r.byte()
	case sub >= 256:
		r.proposal("relaxed SIMD")
	}
}

func (r *reader) unknown(op byte) {
	switch op {
	case 0x06, 0x07, 0x08, 0x09, 0x0a, 0x18, 0x19, 0x1f:
		r.proposal("exceptions")
	case 0x14, 0x15, 0xd3, 0xd4, 0xd5, 0xd6:
		r.proposal("typed function references")
	case 0xfb:
		r.proposal("garbage-collected types")
	case 0xfe:
		r.proposal("atomic instructions (threads)")
	case 0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6:
		r.proposal("stack switching")
	default:
		r.fail(Malformed, "opcode 0x%02x is not known", op)
	}
}

const (
	typeV128      = 0x7b
	typeFuncref   = 0x70
	typeExternref = 0x6f
	typeI32       = 0x7f
)

func (r *reader) valueType() byte {
	t := r.byte()
	switch t {
	case 0x7f, 0x7e, 0x7d, 0x7c, typeV128, typeFuncref, typeExternref:
	case 0x63, 0x64:
		r.proposal("typed function references")
	case 0x69, 0x74:
		r.proposal("exceptions (exnref)")
	case 0x65, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x71, 0x72, 0x73:
		r.proposal("garbage-collected types")
	default:
		r.fail(Malformed, "value type 0x%02x is not known", t)
	}
	return t
}

func (r *reader) referenceType() {
	if t := r.valueType(); t != typeFuncref && t != typeExternref && r.err == nil {
		r.fail(Malformed, "0x%02x is not a reference type", t)
	}
}
