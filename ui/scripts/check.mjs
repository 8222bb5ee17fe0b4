// What the compilers do not see: both languages hold the same messages, and the sources keep to the strict CSP and to logical CSS.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isUsed, uses } from './words.mjs';

const faults = [];
const root = new URL('..', import.meta.url).pathname;
const read = (path) => readFileSync(join(root, path), 'utf8');
const ar = JSON.parse(read('messages/ar.json'));
const en = JSON.parse(read('messages/en.json'));
const names = (text) => [...new Set([...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]))].sort().join();
const forms = { ar: ['zero', 'one', 'two', 'few', 'many', 'other'], en: ['one', 'other'] };

for (const key of new Set([...Object.keys(ar), ...Object.keys(en)])) {
  if (!(key in ar)) faults.push(`ar.json lacks ${key}`);
  else if (!(key in en)) faults.push(`en.json lacks ${key}`);
  else if (typeof ar[key] !== typeof en[key]) faults.push(`${key} is a plural in one language only`);
  else if (typeof ar[key] === 'object') {
    for (const [lang, table] of Object.entries({ ar, en })) {
      for (const form of forms[lang]) if (!(form in table[key])) faults.push(`${lang}.json: ${key} lacks the form ${form}`);
    }
  } else if (names(ar[key]) !== names(en[key])) faults.push(`${key} has other placeholders in ar than in en`);
}

for (const [lang, table] of Object.entries({ ar, en })) if (read(`messages/${lang}.json`).match(/^ {2}"/gm).length !== Object.keys(table).length) faults.push(`${lang}.json says a message twice`);

const sources = ['console', 'erp', 'lib'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true }).filter((file) => /\.(svelte|ts|css|html|js)$/.test(file)).map((file) => join(folder, file)),
);
const rules = [
  [/\{@html/, '{@html} is refused by Trusted Types'],
  [/<[a-z][^>]*\sstyle="/, 'a static style attribute is refused by the CSP'],
  [/\.(innerHTML|outerHTML)\s*=/, 'assigning markup is refused by Trusted Types'],
  [/(?:margin|padding|border)-(?:left|right)\b|[\s;{](?:left|right)\s*:|text-align:\s*(?:left|right)/, 'use the logical property'],
];
const used = new Set();
for (const file of sources) {
  const text = read(file);
  text.split('\n').forEach((line, at) => {
    for (const [pattern, why] of rules) if (pattern.test(line)) faults.push(`${file}:${at + 1}: ${why}`);
  });
  for (const key of uses(text)) used.add(key);
}
for (const key of Object.keys(en)) if (!isUsed(key, used)) faults.push(`message ${key} is used nowhere`);

for (const fault of faults) console.error(fault);
console.log(`${Object.keys(en).length} messages in 2 languages, ${sources.length} sources: ${faults.length} faults`);
process.exit(faults.length ? 1 : 0);
