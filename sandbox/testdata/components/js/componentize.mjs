// Makes a component of a JavaScript handler with componentize-js, without WASI:
//
//	node componentize.mjs FOLDER-OF-NPM SOURCE WIT WORLD COMPONENT
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [npm, sourcePath, witPath, worldName, to] = process.argv.slice(2);
const { componentize } = await import(pathToFileURL(join(npm, 'node_modules/@bytecodealliance/componentize-js/src/componentize.js')));
const { component } = await componentize({ sourcePath, witPath, worldName, disableFeatures: ['random', 'stdio', 'clocks', 'http', 'fetch-event'] });
await writeFile(to, component);
process.exit(0);
