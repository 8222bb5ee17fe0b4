// What is pure in the pages of jobs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './load.mjs';

const { inPlace } = await load('console/places.ts');
const { ACTIONS, parseJson, STATES, traceOf } = await load('console/jobs/states.ts');
const places = (before, next) => inPlace(before, next, (item) => item);

test('rows keep their places, and new ones take the places of those that went', () => {
  assert.deepEqual(places(['a', 'b', 'c'], ['c', 'x', 'a']), ['a', 'x', 'c']);
  assert.deepEqual(places(['a', 'b'], ['b', 'x', 'y']), ['x', 'b', 'y']);
  assert.deepEqual(places(['a', 'b', 'c'], ['c']), ['c']);
  assert.deepEqual(places([], ['b', 'a']), ['b', 'a']);
});

test('a payload is read, or the line is named that can not be', () => {
  assert.deepEqual(parseJson('{"إلى": 17}'), { value: { إلى: 17 } });
  assert.deepEqual(parseJson('{\n"to": 1,\n"to" 2}').line, 3);
  assert.ok(!('value' in parseJson('')));
});

test('a trace is found in its header', () => {
  assert.equal(traceOf(`00-${'a1'.repeat(16)}-${'b2'.repeat(8)}-01`), 'a1'.repeat(16));
  assert.equal(traceOf('nothing'), null);
  assert.equal(traceOf(null), null);
});

test('what is done stays as it is; everything else may be changed', () => {
  assert.deepEqual(STATES.filter((state) => !ACTIONS[state].length), ['done']);
  assert.deepEqual(STATES.filter((state) => ACTIONS[state].includes('cancel')), ['running', 'ready', 'delayed', 'waiting']);
});
