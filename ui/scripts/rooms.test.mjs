// What is pure in the pages of the cache and of resilience.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './load.mjs';

const { judged, rates } = await load('console/cache/judge.ts');
const { plain, stretches } = await load('console/resilience/states.ts');

test('a hit rate is judged by the limits of the specification', () => {
  assert.deepEqual([0, 69.99, 70, 80, 80.01, 90, 90.01, 100].map((rate) => judged(rate, 10)), ['low', 'low', 'fair', 'fair', 'good', 'good', 'excellent', 'excellent']);
  assert.equal(judged(0, 0), null);
});

test('the prefixes asked most are drawn, a gap where nobody asked', () => {
  const series = [...'abcdefgh'].map((prefix, at) => ({ prefix, hits: [at, null, 3], misses: [0, null, 1] }));
  const found = rates({ step_seconds: 60, at: [0, 60, 120], series: [...series, { prefix: 'unused', hits: [0, 0, 0], misses: [0, 0, 0] }] }, null);
  assert.deepEqual(found.map((one) => one.prefix), [...'cdefgh']);
  assert.deepEqual(found[0].values, [100, null, 75]);
  assert.deepEqual(rates({ step_seconds: 60, at: [], series }, 'a').map((one) => one.prefix), ['a']);
});

test('the states of a breaker fill its time without a gap, the oldest first', () => {
  const at = (second) => new Date(second * 1000).toISOString();
  const change = (second, from, to) => ({ at: at(second), from, to, why: null });
  const seen = (breaker, seconds) => stretches(breaker, 1_000_000, seconds).map(({ state, from, to }) => [state, from / 1000, to / 1000]);
  const history = [change(995, 'open', 'half_open'), change(960, 'closed', 'open')];
  assert.deepEqual(seen({ history, state: 'half_open', since: at(995) }, 100), [['closed', 900, 960], ['open', 960, 995], ['half_open', 995, 1000]]);
  assert.deepEqual(seen({ history, state: 'half_open', since: at(995) }, 20), [['open', 980, 995], ['half_open', 995, 1000]]);
  assert.deepEqual(seen({ history: [], state: 'closed', since: at(950) }, 100), [[null, 900, 950], ['closed', 950, 1000]]);
  const full = Array.from({ length: 50 }, (_, index) => change(950 + index, 'closed', 'forced_open'));
  assert.equal(seen({ history: full, state: 'open', since: at(999) }, 100)[0][0], null, 'what was before the kept changes is not known');
  assert.deepEqual(['closed', 'forced_closed', 'half_open', 'forced_open'].map(plain), ['closed', 'closed', 'half_open', 'open']);
});
