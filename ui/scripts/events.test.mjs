// What is pure in the pages of events and audit.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { load } from './load.mjs';

const { difference, flat, tokens } = await load('console/events/diff.ts');
const { rootOf, holds } = await load('console/audit/proof.ts');
const { period } = await load('console/period.ts');

test('pairs of from and to are shown as they are stated, however deep', () => {
  const stated = difference({ project: 'TOWER-07', changes: { unit_price: { from: '10.00', to: '12.50' }, note: { from: null, to: 'حسب عرض المورد' } } }, { unit_price: '9' }, false);
  assert.deepEqual(stated, { kind: 'stated', changes: [{ path: 'changes.unit_price', from: '10.00', to: '12.50' }, { path: 'changes.note', from: null, to: 'حسب عرض المورد' }] });
  assert.equal(difference({ from: 'a', to: 'b' }, { from: 'a', to: 'c' }, false).kind, 'compared');
  assert.equal(difference({ trip: { from: 'a', to: 'b', by: 'c' } }, {}, false).kind, 'compared');
});

test('fields are compared with those of the event before, nested ones by dotted paths', () => {
  const before = { price: '10.00', gone: 1, breakdown: { labour: 30, materials: [{ share: 20 }, { share: 5 }] }, same: { a: [] } };
  const after = { price: '10.0', breakdown: { labour: 30, materials: [{ share: 25 }] }, same: { a: [] }, new: null };
  const { kind, changes } = difference(after, before, false);
  assert.equal(kind, 'compared');
  assert.deepEqual(Object.fromEntries(changes.map(({ path, from, to }) => [path, [from, to]])), {
    price: ['10.00', '10.0'], gone: [1, undefined], 'breakdown.materials.0.share': [20, 25], 'breakdown.materials.1.share': [5, undefined], new: [undefined, null],
  });
  assert.deepEqual(difference(after, structuredClone(after), false).changes, []);
});

test('keys that look like paths are told from paths, and anything at all is compared', () => {
  assert.deepEqual([...flat({ 'a.b': 1, a: { b: 2 } }).keys()], ['"a.b"', 'a.b']);
  assert.deepEqual(difference(5, 4, false).changes, [{ path: '', from: 4, to: 5 }]);
  assert.deepEqual(difference(null, undefined, true), { kind: 'first', changes: [{ path: '', from: undefined, to: null }] });
  assert.deepEqual(difference({}, {}, false).changes, []);
  assert.deepEqual(difference({ a: 1 }, undefined, true), { kind: 'first', changes: [{ path: 'a', from: undefined, to: 1 }] });
});

test('JSON is cut into keys and strings without losing a character', () => {
  const json = JSON.stringify({ 'وصف': 'خرسانة "مسلحة" \\', n: 1.5, list: ['أ', null] }, null, 2);
  assert.equal(tokens(json).map(({ text }) => text).join(''), json);
  assert.deepEqual(tokens(json).filter(({ kind }) => kind === 'key').map(({ text }) => text), ['"وصف"', '"n"', '"list"']);
  assert.deepEqual(tokens(json).filter(({ kind }) => kind === 'string').map(({ text }) => JSON.parse(text)), ['خرسانة "مسلحة" \\', 'أ']);
});

const hash = (...parts) => createHash('sha256').update(Buffer.concat(parts.map((part) => (typeof part === 'number' ? Buffer.from([part]) : part)))).digest();
const leaf = (at) => hash(0, Buffer.from(`event ${at}`));
const split = (size) => 2 ** Math.floor(Math.log2(size - 1));
const tree = (first, size) => (size === 1 ? leaf(first) : hash(1, tree(first, split(size)), tree(first + split(size), size - split(size))));
function path(at, first, size) {
  if (size === 1) return [];
  const half = split(size);
  return at < half ? [...path(at, first, half), tree(first + half, size - half)] : [...path(at - half, first + half, size - half), tree(first, half)];
}

test('every proof of every small tree leads to its root, and none that was touched', async () => {
  for (let size = 1; size <= 34; size++) {
    const root = tree(0, size).toString('hex');
    for (let at = 0; at < size; at++) {
      const proof = { position: at + 1, size, leaf: leaf(at).toString('hex'), proof: path(at, 0, size).map((one) => one.toString('hex')), root, note: '' };
      assert.equal(await holds(proof), true, `${at} of ${size}`);
      assert.equal(await holds({ ...proof, leaf: leaf(at + 1).toString('hex') }), false);
      assert.equal(await rootOf({ ...proof, proof: [...proof.proof, root] }), null);
      if (proof.proof.length) assert.notEqual(await rootOf({ ...proof, proof: proof.proof.slice(1) }), root);
    }
  }
  assert.equal(await rootOf({ position: 3, size: 2, leaf: '00', proof: [] }), null);
  assert.equal(await rootOf({ position: 0, size: 2, leaf: '00', proof: [] }), null);
});

test('days are whole, and what is no day is left out', () => {
  const { since, until } = period(new URLSearchParams('since=2026-11-26&until=2026-11-26'));
  assert.equal(Date.parse(until) - Date.parse(since), 86_400_000 - 1);
  assert.deepEqual(period(new URLSearchParams('since=soon&until=')), {});
});
