package sandbox

// function walks one entry of the code section: its locals, then its instructions.
func (s *surveyor) function() {
	size := s.u32()
	s.limit("bytes in one function", uint64(size), maxBody)
	if s.err != nil {
		return
	}
	if uint64(size) > uint64(len(s.bytes)-s.at) {
		s.fail(Malformed, "a function at byte %d declares %d bytes, %d are left", s.at, size, len(s.bytes)-s.at)
		return
	}
	whole, end := s.bytes, s.at+int(size)
	s.bytes = s.bytes[:end]
	locals := uint64(0)
	s.vector("groups of locals in one function", maxLocals, 2, func() {
		locals += uint64(s.u32())
		s.limit("locals in one function", locals, maxLocals)
		s.valueType()
	})
	blocks := s.instructions(maxNesting)
	if s.err == nil && s.at != end {
		s.fail(Malformed, "a function ends %d bytes before its declared size", end-s.at)
	}
	s.limit("blocks times locals in one function", blocks*locals, maxLocalBlocks)
	s.bytes = whole
}

// constExpr walks the initial value of a global, an offset, or an element.
func (s *surveyor) constExpr() { s.instructions(1) }

// instructions walks an expression up to the end that closes it and counts the blocks in it.
func (s *surveyor) instructions(nesting uint64) (blocks uint64) {
	for depth := uint64(1); s.err == nil; {
		switch op := s.byte(); op {
		case 0x02, 0x03, 0x04: // block, loop, if
			s.skipSigned(5)
			blocks++
			depth++
			s.limit("levels of nested blocks in one function", depth, nesting)
			s.limit("blocks in one function", blocks, maxBlocks)
		case 0x0b: // end
			if depth--; depth == 0 {
				return blocks
			}
		case 0x0e:
			s.branchTable()
		default:
			s.immediates(op)
		}
	}
	return blocks
}

func (s *surveyor) branchTable() {
	labels := s.u32()
	s.limit("labels in one br_table", uint64(labels), maxBranchTable)
	for range uint64(labels) + 1 {
		if s.u32(); s.err != nil {
			return
		}
	}
}

// immediates passes over what follows an opcode that opens or closes no block (WebAssembly 2.0, section 5.4).
func (s *surveyor) immediates(op byte) {
	switch {
	case op <= 0x01, op == 0x05, op == 0x0f, op == 0x1a, op == 0x1b, 0x45 <= op && op <= 0xc4, op == 0xd1:
	case op == 0x0c, op == 0x0d, op == 0x10, 0x20 <= op && op <= 0x26, op == 0xd2:
		s.u32()
	case op == 0x11:
		s.u32()
		s.u32()
	case op == 0x1c:
		s.vector("types of a select", maxParams, 1, s.valueType)
	case 0x28 <= op && op <= 0x3e:
		s.memoryArgument()
	case op == 0x3f, op == 0x40:
		s.byte()
	case op == 0x41:
		s.skipSigned(5)
	case op == 0x42:
		s.skipSigned(10)
	case op == 0x43:
		s.skip(4)
	case op == 0x44:
		s.skip(8)
	case op == 0xd0:
		s.skipSigned(5)
	case op == 0xfc:
		s.bulk()
	case op == 0xfd:
		s.vectorOp()
	default:
		s.unknown(op)
	}
}

func (s *surveyor) memoryArgument() {
	if align := s.u32(); align >= 1<<6 {
		s.fail(Unsupported, "the module uses several memories (multi-memory), which this build does not run")
	}
	s.u32()
}

// bulk walks the 0xfc family: saturating conversions, bulk memory and table instructions.
func (s *surveyor) bulk() {
	switch sub := s.u32(); {
	case sub <= 7:
	case sub == 9, sub == 11, sub == 13, sub == 16, sub == 17:
		s.u32()
	case sub == 8, sub == 10, sub == 12, sub == 14:
		s.u32()
		s.u32()
	case sub == 15: // table.grow
		s.grown[s.u32()] = true
		s.limit("tables", uint64(len(s.grown)), maxTables)
	default:
		s.fail(Unsupported, "instruction 0xfc 0x%02x at byte %d is not known", sub, s.at)
	}
}

// vectorOp walks the 0xfd family: SIMD.
func (s *surveyor) vectorOp() {
	switch sub := s.u32(); {
	case sub <= 11, sub == 92, sub == 93:
		s.memoryArgument()
	case sub == 12, sub == 13:
		s.skip(16)
	case 21 <= sub && sub <= 34:
		s.byte()
	case 84 <= sub && sub <= 91:
		s.memoryArgument()
		s.byte()
	case sub >= 256:
		s.fail(Unsupported, "the module uses relaxed SIMD, which this build does not run")
	}
}

func (s *surveyor) unknown(op byte) {
	switch op {
	case 0x06, 0x07, 0x08, 0x09, 0x0a, 0x18, 0x19, 0x1f:
		s.fail(Unsupported, "the module uses exceptions (opcode 0x%02x), which this build does not run", op)
	case 0x12, 0x13:
		s.fail(Unsupported, "the module uses tail calls, which this build does not run")
	case 0x14, 0x15, 0xd3, 0xd4, 0xd5, 0xd6:
		s.fail(Unsupported, "the module uses typed function references (opcode 0x%02x), which this build does not run", op)
	case 0xfb:
		s.fail(Unsupported, "the module uses garbage-collected types, which this build does not run")
	case 0xfe:
		s.fail(Unsupported, "the module uses atomic instructions (threads), which this build does not run")
	case 0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6:
		s.fail(Unsupported, "the module uses stack switching, which this build does not run")
	default:
		s.fail(Malformed, "opcode 0x%02x at byte %d is not known", op, s.at-1)
	}
}
