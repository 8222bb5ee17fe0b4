// After `vite build`: hash the blocking first script, refuse source maps, write .br and .gz beside each file that shrinks.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { entries } from './entries.mjs';

const entry = process.argv[2];
const { base, out: folder, budget: BUDGET } = entries[entry];
const assets = join(folder, 'assets');
const page = join(folder, 'index.html');

const first = readFileSync(join(folder, 'first.js'));
const name = `first-${createHash('sha256').update(first).digest('base64url').slice(0, 8)}.js`;
renameSync(join(folder, 'first.js'), join(assets, name));
const html = readFileSync(page, 'utf8').replace(`${base}first.js`, `${base}assets/${name}`);
if (!html.includes(name) || !html.includes('__NONCE__')) throw new Error('index.html lost its first script or its nonce');
if (/<script(?![^>]*\bnonce=)/.test(html)) throw new Error('index.html has a script without a nonce');
writeFileSync(page, html);

const packed = new Map();
let fonts = 0;
for (const file of readdirSync(assets)) {
  if (file.endsWith('.map')) throw new Error(`${file} must not be shipped`);
  const path = join(assets, file);
  if (extname(file) === '.woff2') fonts += statSync(path).size;
  if (!['.js', '.css', '.svg', '.json'].includes(extname(file))) continue;
  const raw = readFileSync(path);
  const gz = gzipSync(raw, { level: 9 });
  const br = brotliCompressSync(raw, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: raw.length } });
  packed.set(`assets/${file}`, gz.length);
  if (gz.length < raw.length) writeFileSync(`${path}.gz`, gz);
  if (br.length < raw.length) writeFileSync(`${path}.br`, br);
}

// What a page loads when it is the first: the entry, the page's own part, and of one language the words of both.
const manifest = JSON.parse(readFileSync(join(folder, '.vite/manifest.json'), 'utf8'));
rmSync(join(folder, '.vite'), { recursive: true });
function needed(key, found = new Set()) {
  const { file, css = [], imports = [] } = manifest[key];
  for (const part of [file, ...css]) found.add(part);
  for (const other of imports) needed(other, found);
  return found;
}
const kB = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;
const sizeOf = (parts) => [...parts].reduce((sum, part) => sum + packed.get(part), 0);
const total = [...packed].reduce((sum, [file, size]) => sum + (/\.(js|css)$/.test(file) ? size : 0), 0);
const LANGS = [':ar', ':en'];
const wordsOf = (source, lang) => Object.keys(manifest).filter((key) => key.endsWith(`/${source}${lang}`)).map((key) => manifest[key].file);
const lazy = Object.keys(manifest).filter((key) => manifest[key].isDynamicEntry && !LANGS.some((lang) => key.endsWith(lang)));
for (const page of ['index.html', ...lazy]) {
  const parts = new Set([...needed('index.html'), ...needed(page)]);
  const size = sizeOf(parts) + Math.max(...LANGS.map((lang) => sizeOf(new Set([`${entry}/main.ts`, page.replace(/^\.\.\//, '')].flatMap((source) => wordsOf(source, lang))))));
  console.log(`first load of ${page}: ${kB(size)} gz`);
  if (size > BUDGET) throw new Error(`${page} is over the budget of ${kB(BUDGET)}`);
}
console.log(`all scripts and styles ${kB(total)} gz, fonts ${kB(fonts)}`);
