// After `vite build`: hash the blocking first script, refuse source maps, write .br and .gz beside each file that shrinks.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const folder = process.argv[2];
const assets = join(folder, 'assets');
const page = join(folder, 'index.html');

const first = readFileSync(join(folder, 'first.js'));
const name = `first-${createHash('sha256').update(first).digest('base64url').slice(0, 8)}.js`;
renameSync(join(folder, 'first.js'), join(assets, name));
const html = readFileSync(page, 'utf8').replace('/first.js', `/assets/${name}`);
if (!html.includes(name) || !html.includes('__NONCE__')) throw new Error('index.html lost its first script or its nonce');
if (/<script(?![^>]*\bnonce=)/.test(html)) throw new Error('index.html has a script without a nonce');
writeFileSync(page, html);

const weight = { '.js': 0, '.css': 0, '.woff2': 0 };
for (const file of readdirSync(assets)) {
  if (file.endsWith('.map')) throw new Error(`${file} must not be shipped`);
  const kind = extname(file);
  const path = join(assets, file);
  if (kind === '.woff2') weight[kind] += statSync(path).size;
  if (!['.js', '.css', '.svg', '.json'].includes(kind)) continue;
  const raw = readFileSync(path);
  const gz = gzipSync(raw, { level: 9 });
  const br = brotliCompressSync(raw, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: raw.length } });
  if (kind in weight) weight[kind] += gz.length;
  if (gz.length < raw.length) writeFileSync(`${path}.gz`, gz);
  if (br.length < raw.length) writeFileSync(`${path}.br`, br);
}
const kB = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;
console.log(`js ${kB(weight['.js'])} gz, css ${kB(weight['.css'])} gz, fonts ${kB(weight['.woff2'])}`);
if (weight['.js'] + weight['.css'] > 70_000) throw new Error('JS and CSS together are over the budget of 70 kB gz');
