// What is pure in the pages of traces, logs and errors.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './load.mjs';

const { arrange, ticks, unfolded, MOST_ROWS } = await load('console/traces/waterfall.ts');
const { begins, cursors, FILES, inFront, mark, merged, sentence } = await load('console/logs/lines.ts');
const { choices, pieces } = await load('console/errors/stack.ts');
const span = (span_id, parent_id, start_ms, duration_ms, more = {}) => ({ span_id, parent_id, name: span_id, kind: 'internal', start_ms, duration_ms, status: 'unset', message: null, attributes: {}, events: [], ...more });
const tree = (spans, duration_ms = 100) => arrange({ spans, duration_ms });

test('spans stand under their parents, by time', () => {
  const fall = tree([span('c', 'a', 60, 20), span('b', 'a', 10, 40), span('a', null, 0, 100, { kind: 'server' }), span('d', 'b', 20, 10)]);
  assert.deepEqual(fall.rows.map((row) => [row.span.name, row.depth, row.within]), [['a', 0, []], ['b', 1, [0]], ['d', 2, [0, 1]], ['c', 1, [0]]]);
  assert.deepEqual([fall.rows[0].own_ms, fall.rows[1].own_ms], [40, 30]);
  assert.deepEqual(unfolded(fall.rows, new Set([1])), [0, 1, 3]);
  assert.deepEqual(unfolded(fall.rows, new Set([0])), [0]);
});

test('children that run at once cover their parent once', () => {
  const fall = tree([span('a', null, 0, 100), span('b', 'a', 10, 50), span('c', 'a', 20, 50), span('d', 'a', 90, 50)]);
  assert.equal(fall.rows[0].own_ms, 30);
});

test('a span whose parent is not kept is an orphan; one that enters from another process is not', () => {
  const fall = tree([span('a', 'browser', 0, 100, { kind: 'server' }), span('b', 'gone', 10, 5)]);
  assert.deepEqual([fall.orphans, fall.rows.map((row) => row.orphan)], [1, [false, true]]);
});

test('circles, doubles and spans that are their own parent are shown once', () => {
  const fall = tree([span('a', 'b', 0, 10), span('b', 'a', 1, 5), span('c', 'c', 2, 5), span('c', 'c', 2, 5)]);
  assert.deepEqual(fall.rows.map((row) => row.span.span_id).toSorted(), ['a', 'b', 'c']);
});

test('bars stay inside, also with clocks that differ, and their words have room', () => {
  const fall = tree([span('a', null, 0, 100), span('early', 'a', -20, 10), span('late', 'a', 95, 60), span('none', 'a', 50, 0)]);
  assert.deepEqual([fall.from_ms, fall.total_ms], [-20, 175]);
  for (const row of fall.rows) {
    assert.ok(row.start >= 0 && row.start + row.width <= 100.0001, row.span.name);
    if (row.label === 'after') assert.ok(100 - row.start - row.width >= 25);
    if (row.label === 'before') assert.ok(row.start >= 25);
  }
  const instant = tree([span('a', null, 0, 0)], 0);
  assert.ok(instant.total_ms > 0 && Number.isFinite(instant.rows[0].start));
  assert.equal(tree([], 0).rows.length, 0);
});

test('a long trace is cut and says so; a deep one keeps its indent small', () => {
  const wide = tree([span('root', null, 0, 100), ...Array.from({ length: 700 }, (_, at) => span(`s${at}`, 'root', at / 10, 1))]);
  assert.deepEqual([wide.rows.length, wide.hidden], [MOST_ROWS, 201]);
  const deep = tree(Array.from({ length: 400 }, (_, at) => span(`d${at}`, at ? `d${at - 1}` : null, at / 10, 1)));
  assert.deepEqual([deep.rows.length, deep.rows.at(-1).depth, deep.rows.at(-1).indent], [400, 399, 12]);
});

test('where the time went is marked', () => {
  const fall = tree([span('a', null, 0, 100), span('b', 'a', 0, 90), span('c', 'b', 0, 10)]);
  assert.deepEqual(fall.rows.filter((row) => row.slow).map((row) => row.span.name), ['b']);
  assert.equal(tree([span('a', null, 0, 100)]).rows[0].slow, false);
});

test('the axis has few and round ticks', () => {
  for (const total of [0.3, 1, 7, 41, 100, 999, 12_345, 3_600_000]) {
    const places = ticks(total);
    assert.ok(places[0] === 0 && places.length <= 6 && places.length >= 2, `${total}: ${places}`);
    assert.ok(places.at(-1) <= total);
  }
  assert.deepEqual(ticks(100), [0, 20, 40, 60, 80, 100]);
});

test('pages of several files become one, newest first, each line once', () => {
  const line = (at, message, more = {}) => ({ timestamp: `2026-11-27T10:00:${at}+03:00`, message, ...more });
  const page = (items, next_cursor = null) => ({ items, next_cursor, scanned_bytes: 10, complete: !next_cursor, took_ms: items.length });
  const twice = line('05', 'مرتان');
  const all = merged([['app', page([line('09', 'آخر'), twice, { ...twice }], 'c1')], ['errors', page([{ ...twice }, line('07', 'خطأ')])]]);
  assert.deepEqual(all.items.map(({ file, line: { message } }) => [file, message]), [['app', 'آخر'], ['errors', 'خطأ'], ['app', 'مرتان'], ['app', 'مرتان']]);
  assert.deepEqual([all.scanned_bytes, all.complete, all.took_ms], [20, false, 3]);
  assert.deepEqual(cursors(FILES, all.next_cursor), [['app', 'c1']]);
  assert.deepEqual(cursors(['app', 'audit'], null), [['app', null], ['audit', null]]);
  const one = merged([['app', page([line('01', 'أ'), line('02', 'ب')])]]);
  assert.deepEqual([one.items.map(({ line: { message } }) => message), one.next_cursor, one.complete], [['أ', 'ب'], null, true]);
});

test('new lines stand in front, the newest first, and never more than agreed', () => {
  assert.deepEqual(inFront([3, 4], [2, 1], 3), [4, 3, 2]);
  assert.equal(inFront(Array.from({ length: 5000 }, (_, at) => at), [], 1000).length, 1000);
});

test('a line of any file has a mark and a sentence', () => {
  const cases = [
    [{ level: 'ERROR', message: 'تعذّر' }, 'ERROR', 'bad', 'تعذّر'],
    [{ level: 'INFO', message: '' }, 'INFO', null, ''],
    [{ method: 'GET', path: '/x', status_code: 404 }, '404', 'warn', 'GET /x'],
    [{ event_type: 'USER_LOGIN', action: 'LOGIN', resource: 'authentication', details: { success: false } }, 'LOGIN', 'bad', 'USER_LOGIN · authentication'],
    [{ odd: 1 }, '', null, '{"odd":1}'],
  ];
  for (const [line, word, tone, text] of cases) assert.deepEqual([mark(line).word, mark(line).tone, sentence(line)], [word, tone, text]);
});

test('a quick range begins before now, and an unknown one nowhere', () => {
  assert.equal(begins('1h', Date.parse('2026-11-27T10:00:00Z')), '2026-11-27T09:00:00.000Z');
  assert.deepEqual([begins('', 0), begins(null, 0), begins('constructor', 0)], [undefined, undefined, undefined]);
});

test('frames of libraries are folded, those of the application are open', () => {
  const frame = (file, in_app) => ({ file, in_app, line: 1, function: 'f', context: [] });
  const shape = (frames) => pieces(frames).map((piece) => (piece.open ? piece.frame.file : piece.frames.map((one) => one.file)));
  assert.deepEqual(shape([frame('a', false), frame('b', false), frame('c', true), frame('d', false), frame('e', true)]), [['a', 'b'], 'c', ['d'], 'e']);
  assert.deepEqual(shape([frame('a', false), frame('b', false)]), [['a'], 'b']);
  assert.deepEqual(shape([]), []);
});

test('what may become of an error depends on its state', () => {
  assert.deepEqual(['open', 'regressed', 'resolved', 'ignored'].map((state) => choices(state)), [['resolved', 'ignored'], ['resolved', 'ignored'], ['open'], ['open']]);
});
