"""Makes vectors.json: random types, values and memories, with what the specification's executable rules do with them.

    git clone https://github.com/WebAssembly/component-model
    python3.11 vectors.py component-model/design/mvp/canonical-abi > vectors.json

Types, values and memories come from the generator below; only the outcomes come from definitions.py. A "lower" vector is a value with the core
values and the memory that lowering it leaves; lifting those has to give the value again. A "lift" vector is random core values and
memory with the value that lifting them gives, or null for a trap. Memory is allocated by adding up, from 0.

Types: a primitive's name; [list, t], [fixed, t, n], [map, k, v], [record, t...], [tuple, t...], [variant, t or null...], [enum, n], [option, t],
[result, t or null, t or null], [flags, n]. Values: integers in decimal, floats as their bits, chars as code points, variants as
[case, payload]. All numbers are strings.
"""

import json
import random
import sys

sys.path.insert(0, sys.argv[1])
import definitions as d

d.DETERMINISTIC_PROFILE = True
rnd = random.Random(20260821)

PRIMITIVES = {
    "bool": d.BoolType, "u8": d.U8Type, "s8": d.S8Type, "u16": d.U16Type, "s16": d.S16Type, "u32": d.U32Type, "s32": d.S32Type,
    "u64": d.U64Type, "s64": d.S64Type, "f32": d.F32Type, "f64": d.F64Type, "char": d.CharType, "string": d.StringType,
}


def some_type(depth):
    if depth == 0 or rnd.random() < 0.3:
        return rnd.choice(list(PRIMITIVES))
    def part():
        return some_type(depth - 1)
    def maybe():
        return part() if rnd.random() < 0.7 else None
    kind = rnd.choice(["list", "list", "fixed", "map", "record", "tuple", "variant", "variant", "enum", "option", "result", "flags"])
    if kind == "list" or kind == "option":
        return [kind, part()]
    if kind == "fixed":
        return [kind, part(), rnd.randint(1, 3)]
    if kind == "map":
        return [kind, rnd.choice(["u8", "u32", "string", "char"]), part()]
    if kind in ("record", "tuple"):
        return [kind] + [part() for _ in range(rnd.randint(1, 4))]
    if kind == "variant":
        return [kind] + [maybe() for _ in range(rnd.randint(1, 4))]
    if kind == "result":
        return [kind, maybe(), maybe()]
    if kind == "enum":
        return [kind, rnd.choice([1, 2, 5, 256, 257])]
    return [kind, rnd.choice([1, 3, 8, 9, 16, 17, 31, 32])]


def spec(t):
    if isinstance(t, str):
        return PRIMITIVES[t]()
    kind, *parts = t
    if kind == "list":
        return d.ListType(spec(parts[0]))
    if kind == "fixed":
        return d.ListType(spec(parts[0]), parts[1])
    if kind == "map":
        return d.MapType(spec(parts[0]), spec(parts[1]))
    if kind == "record":
        return d.RecordType([d.FieldType("f%d" % i, spec(p)) for i, p in enumerate(parts)])
    if kind == "tuple":
        return d.TupleType([spec(p) for p in parts])
    if kind == "variant":
        return d.VariantType([d.CaseType("c%d" % i, p and spec(p)) for i, p in enumerate(parts)])
    if kind == "enum":
        return d.EnumType(["e%d" % i for i in range(parts[0])])
    if kind == "option":
        return d.OptionType(spec(parts[0]))
    if kind == "result":
        return d.ResultType(parts[0] and spec(parts[0]), parts[1] and spec(parts[1]))
    return d.FlagsType(["l%d" % i for i in range(parts[0])])


def some_char():
    while True:
        c = rnd.choice([rnd.randrange(0x80), rnd.randrange(0x100), rnd.randrange(0x3000), rnd.randrange(0x110000)])
        if not 0xD800 <= c <= 0xDFFF:
            return c


def some_string(encoding):
    limit = rnd.choice([0x80, 0x100, 0x110000])
    s = "".join(chr(c) for c in (some_char() for _ in range(rnd.randint(0, 6))) if c < limit)
    if encoding == "utf8":
        return (s, encoding, len(s.encode("utf-8")))
    units = len(s.encode("utf-16-le")) // 2
    if encoding == "utf16":
        return (s, encoding, units)
    if any(ord(c) > 0xFF for c in s):
        return (s, encoding, units | 1 << 31)
    return (s, encoding, len(s))


def some_value(t, encoding):
    if isinstance(t, str):
        if t == "bool":
            return rnd.random() < 0.5
        if t[0] in "us" and t != "string":
            bits = int(t[1:])
            v = rnd.choice([0, 1, (1 << bits) - 1, 1 << (bits - 1), rnd.getrandbits(bits)])
            return v - (1 << bits) if t[0] == "s" and v >> (bits - 1) else v
        if t == "f32":
            return d.decode_i32_as_float(rnd.choice([0, 0x80000000, 0x7F800000, 0x7FC00001, rnd.getrandbits(32)]))
        if t == "f64":
            return d.decode_i64_as_float(rnd.choice([0, 1 << 63, 0x7FF0000000000001, rnd.getrandbits(64)]))
        if t == "char":
            return chr(some_char())
        return some_string(encoding)
    kind, *parts = t
    if kind == "list":
        return [some_value(parts[0], encoding) for _ in range(rnd.randint(0, 4))]
    if kind == "fixed":
        return [some_value(parts[0], encoding) for _ in range(parts[1])]
    if kind == "map":
        return [{"0": some_value(parts[0], encoding), "1": some_value(parts[1], encoding)} for _ in range(rnd.randint(0, 3))]
    if kind == "record":
        return {"f%d" % i: some_value(p, encoding) for i, p in enumerate(parts)}
    if kind == "tuple":
        return {str(i): some_value(p, encoding) for i, p in enumerate(parts)}
    if kind == "enum":
        return {"e%d" % rnd.randrange(parts[0]): None}
    if kind == "flags":
        return {"l%d" % i: rnd.random() < 0.5 for i in range(parts[0])}
    cases = cases_of(t)
    label, p = rnd.choice(cases)
    return {label: p and some_value(p, encoding)}


def cases_of(t):
    kind, *parts = t
    if kind == "variant":
        return [("c%d" % i, p) for i, p in enumerate(parts)]
    if kind == "option":
        return [("none", None), ("some", parts[0])]
    return [("ok", parts[0]), ("error", parts[1])]


def spell(t, v):
    if isinstance(t, str):
        if t == "bool":
            return v
        if t == "f32":
            return str(d.encode_float_as_i32(v))
        if t == "f64":
            return str(d.encode_float_as_i64(v))
        if t == "char":
            return str(ord(v))
        if t == "string":
            return v[0]
        return str(v)
    kind, *parts = t
    if kind in ("list", "fixed"):
        return [spell(parts[0], e) for e in v]
    if kind == "map":
        return [[spell(parts[0], e["0"]), spell(parts[1], e["1"])] for e in v]
    if kind in ("record", "tuple"):
        return [spell(p, e) for p, e in zip(parts, v.values())]
    if kind == "enum":
        return list(v)[0][1:]
    if kind == "flags":
        return str(sum(1 << i for i, on in enumerate(v.values()) if on))
    [(label, payload)] = v.items()
    cases = cases_of(t)
    n = [l for l, _ in cases].index(label)
    return [str(n), cases[n][1] and spell(cases[n][1], payload)]


def context(size, encoding):
    opts = d.CanonicalOptions()
    opts.memory, opts.string_encoding = d.MemInst(bytearray(size), "i32"), encoding
    last = 0

    def realloc(args):
        nonlocal last
        old, old_size, align, size = args
        assert old == 0 and old_size == 0
        p = d.align_to(last, align)
        last = p + size
        return [p]

    opts.realloc = realloc
    inst = d.ComponentInstance(d.Store())
    inst.may_enter = False
    cx = d.LiftLowerContext(opts, inst)
    cx.reallocate = lambda old, old_size, align, size: realloc([old, old_size, align, size])[0]
    return cx, lambda: last


def bits(kind, v):
    if kind == "f32":
        return d.encode_float_as_i32(v)
    if kind == "f64":
        return d.encode_float_as_i64(v)
    return v


def lower_vector():
    encoding = rnd.choice(["utf8", "utf16", "latin1+utf16"])
    t = some_type(4)
    v = some_value(t, encoding)
    cx, used = context(1 << 16, encoding)
    flat = d.flatten_type(spec(t), cx.opts)
    core = d.lower_flat_values(cx, 16, [v], [spec(t)])
    kinds = flat if len(flat) <= 16 else ["i32"]
    return {
        "type": t, "encoding": encoding, "value": spell(t, v), "flat": flat[:17], "core": [str(bits(k, c)) for k, c in zip(kinds, core)],
        "memory": bytes(cx.opts.memory.bytes[: used()]).hex(), "size": d.elem_size(spec(t), "i32"), "align": d.alignment(spec(t), "i32"),
    }


def lift_vector():
    encoding = rnd.choice(["utf8", "utf16", "latin1+utf16"])
    t = some_type(3)
    cx, _ = context(0, encoding)
    memory = bytearray(96)
    for i in range(0, 96, 4):
        word = rnd.choice([0, 1, 2, 3, 8, 16, 40, rnd.getrandbits(6), rnd.getrandbits(32), 0x61626364, 0x00E90041, 0x80000001])
        memory[i : i + 4] = word.to_bytes(4, "little")
    cx.opts.memory.bytes = memory
    flat = d.flatten_type(spec(t), cx.opts)
    if len(flat) > 16:
        flat = ["i32"]
    raw = [rnd.choice([0, 1, 2, 4, 8, 16, 90, rnd.getrandbits(5), rnd.getrandbits(32 if k[1:] == "32" else 64)]) for k in flat]
    core = [
        d.core_f32_reinterpret_i32(r) if k == "f32" else d.core_f64_reinterpret_i64(r) if k == "f64" else r for k, r in zip(flat, raw)
    ]
    try:
        [v] = d.lift_flat_values(cx, 16, d.CoreValueIter(core), [spec(t)])
        v = spell(t, v)
    except d.Trap:
        v = None
    return {"type": t, "encoding": encoding, "core": [str(r) for r in raw], "memory": memory.hex(), "value": v}


lower = [lower_vector() for _ in range(600)]
lower = [v for v in lower if len(json.dumps(v)) < 1500][:400]
lift = [lift_vector() for _ in range(4000)]
traps = [v for v in lift if v["value"] is None][:250]
values = [v for v in lift if v["value"] is not None and not isinstance(v["type"], str)][:450]
lines = ["  " + json.dumps(v, separators=(",", ":")) for v in lower]
print('{"lower": [\n' + ",\n".join(lines) + '\n],\n"lift": [')
print(",\n".join("  " + json.dumps(v, separators=(",", ":")) for v in traps + values) + "\n]}")
