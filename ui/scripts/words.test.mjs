// A page that is loaded late finds the words of everything it shows: in the first script, in what asked for it, or in its own.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { entries } from './entries.mjs';
import { isUsed, lateOnes, split, together, uses } from './words.mjs';

const root = new URL('..', import.meta.url);
const textOf = (path) => readFileSync(new URL(path, root), 'utf8');
const en = JSON.parse(textOf('messages/en.json'));

for (const entry of Object.keys(entries)) {
  test(`${entry}: no way to a page leaves a word behind`, () => {
    const tables = split(entry, en);
    const walk = (start, before) => {
      const files = together(start);
      const at_hand = new Set([...before, ...tables.get(start)]);
      const used = new Set([...files].flatMap((file) => uses(textOf(file))));
      for (const key of Object.keys(en)) assert.ok(!isUsed(key, used) || at_hand.has(key), `${start} shows ${key}`);
      for (const part of [...files].flatMap(lateOnes)) walk(part, at_hand);
    };
    walk(`${entry}/main.ts`, new Set());
  });
}

test('the first script carries what its frame says, and no page', () => {
  const base = split('console', en).get('console/main.ts');
  assert.ok(base.has('shell.sign_out') && base.has('jobs.title'));
  assert.ok(!base.has('jobs.add') && !base.has('boq.title') && base.size < 120);
});
