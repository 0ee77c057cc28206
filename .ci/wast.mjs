// Turns WebAssembly text scripts (.wast) with components into data that a test can read: one JSON file for each script.
//
//	node wast.mjs JCO_TRANSPILE FROM TO
//
// JCO_TRANSPILE is the folder of the npm package @bytecodealliance/jco-transpile, whose text parser does the work. A script's JSON is
//
//	{"source": "values/strings.wast", "commands": [{"type": ..., "line": ..., ...}]}
//
// with these commands; wasm is in base64, and a command whose text the parser refuses has "unparsed" with the reason in its place:
//
//	component   wasm, name          define and instantiate
//	definition  wasm, name          define
//	instance    name, of            instantiate the definition `of`
//	invalid, malformed, unlinkable, uninstantiable   wasm, message
//	invoke      instance, func, args
//	return      instance, func, args, expect
//	trap        instance, func, args, message
//
// Values are S-expressions as nested arrays, ["list.const", ["u8.const", "1"]]; strings in them are {"string": ...} and, where they are no UTF-8,
// {"base64": ...}.
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';

const [jco, from, to] = process.argv.slice(2);
const { $init, tools } = await import(pathToFileURL(join(jco, 'vendor/wasm-tools.js')));
await $init;

// forms reads S-expressions: atoms are strings, strings are {bytes}, lists are arrays with the range and line of their text.
function forms(text) {
	let at = 0, line = 1;
	const space = () => {
		for (;;) {
			if (text.startsWith(';;', at)) while (at < text.length && text[at] !== '\n') at++;
			else if (text.startsWith('(;', at)) {
				let depth = 0;
				do {
					if (text.startsWith('(;', at)) { depth++; at += 2; }
					else if (text.startsWith(';)', at)) { depth--; at += 2; }
					else if (text[at++] === '\n') line++;
				} while (depth > 0 && at < text.length);
			} else if (at < text.length && /\s/.test(text[at])) { if (text[at++] === '\n') line++; }
			else return;
		}
	};
	const string = () => {
		const bytes = [];
		for (at++; text[at] !== '"';) {
			if (text[at] === '\n') line++;
			if (text[at] !== '\\') {
				const c = String.fromCodePoint(text.codePointAt(at));
				bytes.push(...Buffer.from(c));
				at += c.length;
				continue;
			}
			const next = text[at + 1];
			const plain = { t: 9, n: 10, r: 13, '"': 34, "'": 39, '\\': 92 }[next];
			if (plain !== undefined) { bytes.push(plain); at += 2; }
			else if (next === 'u') {
				const end = text.indexOf('}', at);
				bytes.push(...Buffer.from(String.fromCodePoint(parseInt(text.slice(at + 3, end).replaceAll('_', ''), 16))));
				at = end + 1;
			} else { bytes.push(parseInt(text.slice(at + 1, at + 3), 16)); at += 3; }
		}
		at++;
		return { bytes: Buffer.from(bytes) };
	};
	const form = () => {
		if (text[at] === '"') return string();
		if (text[at] !== '(') {
			const start = at;
			while (at < text.length && !/[\s()";]/.test(text[at])) at++;
			if (at === start) throw new Error(`line ${line}: unexpected ${text[at]}`);
			return text.slice(start, at);
		}
		const list = [];
		list.start = at++;
		list.line = line;
		for (space(); text[at] !== ')'; space()) {
			if (at >= text.length) throw new Error(`line ${list.line}: a form has no end`);
			list.push(form());
		}
		list.end = ++at;
		return list;
	};
	const all = [];
	for (space(); at < text.length; space()) all.push(form());
	return all;
}

const isName = (f) => typeof f === 'string' && f.startsWith('$');
const joined = (parts) => Buffer.concat(parts.filter((p) => p.bytes).map((p) => p.bytes));

// value gives an S-expression as data.
function value(f) {
	if (f.bytes) {
		const text = f.bytes.toString('utf8');
		return Buffer.from(text).equals(f.bytes) ? { string: text } : { base64: f.bytes.toString('base64') };
	}
	return Array.isArray(f) ? f.map(value) : f;
}

async function script(path) {
	const text = await readFile(join(from, path), 'utf8');
	const base = path.replace(/\.wast$/, '');
	await mkdir(join(to, dirname(path)), { recursive: true });
	const commands = [];
	let made = 0;

	// wasm gives the bytes of a component form, and tells whether it is only a definition.
	const wasm = (form) => {
		const rest = form.slice(1);
		const definition = rest[0] === 'definition';
		if (definition) rest.shift();
		const name = isName(rest[0]) ? rest.shift() : undefined;
		const command = { name, definition };
		try {
			let bytes;
			if (rest[0] === 'binary') bytes = joined(rest);
			else if (rest[0] === 'quote') bytes = tools.parse(`(component ${joined(rest).toString('utf8')})`);
			else bytes = tools.parse(text.slice(form.start, form.end).replace(/^\(\s*component\s+definition\b/, '(component'));
			command.wasm = Buffer.from(bytes).toString('base64');
			made++;
		} catch (e) {
			command.unparsed = String(e?.payload ?? e?.message ?? e);
		}
		return command;
	};
	const invoke = (f) => {
		const rest = f.slice(1);
		const instance = isName(rest[0]) ? rest.shift() : undefined;
		return { instance, func: rest[0].bytes.toString('utf8'), args: rest.slice(1).map(value) };
	};
	const asserted = { assert_invalid: 'invalid', assert_malformed: 'malformed', assert_unlinkable: 'unlinkable' };

	for (const f of forms(text)) {
		const line = f.line;
		const message = f.at(-1)?.bytes?.toString('utf8');
		switch (f[0]) {
		case 'component':
			if (f[1] === 'instance') {
				commands.push({ type: 'instance', line, name: isName(f[2]) && f.length > 3 ? f[2] : undefined, of: f.at(-1) });
				break;
			}
			{
				const { definition, ...c } = wasm(f);
				commands.push({ type: definition ? 'definition' : 'component', line, ...c });
			}
			break;
		case 'assert_invalid': case 'assert_malformed': case 'assert_unlinkable': {
			const { definition, ...c } = wasm(f[1]);
			commands.push({ type: asserted[f[0]], line, ...c, message });
			break;
		}
		case 'assert_trap': case 'assert_return': case 'invoke': {
			const what = f[0] === 'invoke' ? f : f[1];
			if (what[0] === 'component') {
				const { definition, ...c } = wasm(what);
				commands.push({ type: 'uninstantiable', line, ...c, message });
			} else if (f[0] === 'invoke') commands.push({ type: 'invoke', line, ...invoke(what) });
			else if (f[0] === 'assert_trap') commands.push({ type: 'trap', line, ...invoke(what), message });
			else commands.push({ type: 'return', line, ...invoke(what), expect: f.slice(2).map(value) });
			break;
		}
		default:
			commands.push({ type: 'unknown', line, unparsed: `form ${f[0]}` });
		}
	}
	await writeFile(join(to, `${base}.json`), JSON.stringify({ source: path, commands }, null, '\t') + '\n');
	return [made, commands.filter((c) => c.unparsed).length, commands.length];
}

await rm(to, { recursive: true, force: true });
const total = [0, 0, 0, 0];
for (const entry of (await readdir(from, { recursive: true, withFileTypes: true })).sort((a, b) => (a.parentPath + a.name < b.parentPath + b.name ? -1 : 1))) {
	if (!entry.isFile() || !entry.name.endsWith('.wast')) continue;
	const path = relative(from, join(entry.parentPath ?? dirname(entry.path), entry.name));
	try {
		const counts = await script(path);
		counts.forEach((n, i) => { total[i] += n; });
		total[3]++;
	} catch (e) {
		console.error(`${path}: left out: ${e.message}`);
	}
}
console.log(`${total[3]} scripts, ${total[2]} commands, ${total[0]} components; ${total[1]} commands that the parser refuses`);
