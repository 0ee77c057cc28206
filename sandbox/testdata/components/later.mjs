// Makes a component of a core module with the asynchronous handler, which needs a newer wasm-tools than Go's module proxy has:
//
//	node later.mjs JCO_TRANSPILE CORE WIT COMPONENT
//
// JCO_TRANSPILE is the folder of the npm package @bytecodealliance/jco-transpile.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [jco, core, wit, to] = process.argv.slice(2);
const { $init, tools } = await import(pathToFileURL(join(jco, 'vendor/wasm-tools.js')));
await $init;
const embedded = tools.componentEmbed({ binary: await readFile(core), witSource: await readFile(wit, 'utf8'), world: 'handler' });
await writeFile(to, tools.componentNew(embedded, []));
