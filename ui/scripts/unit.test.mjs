// The parts that need no browser: reading numbers, placing rows, the contrast of the tokens.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { load } from './load.mjs';

const root = new URL('..', import.meta.url);
const { parseNumber, plain } = await load('lib/numbers.ts');
const { Layout } = await load('erp/boq/layout.ts');
const { judge } = await load('console/overview/verdict.ts');
const { sorted } = await load('console/requests/table.ts');
const read = (text, limits = { decimals: 6 }) => Object.values(parseNumber(text, limits))[0];

test('numbers are read as people type them', () => {
  const cases = { '12.5': '12.5', '١٢٫٥': '12.5', '۱۲٫۵': '12.5', '1,234.50': '1234.5', '١٬٢٣٤٬٥٦٧٫٢٥': '1234567.25', '007': '7', '.5': '0.5', '5.': '5', '0.000': '0', ' 33.33 % ': '33.33', '\u200f١٢\u200f': '12', '1\u00a0234': '1234' };
  for (const [typed, value] of Object.entries(cases)) assert.equal(read(typed), value, typed);
});

test('what can mean two things or nothing is refused', () => {
  const cases = { '': 'empty', '1,5': 'ambiguous', '١٬٥': 'ambiguous', '12,34': 'ambiguous', '1.234,56': 'not_a_number', abc: 'not_a_number', '1e3': 'not_a_number', '-3': 'negative', '1.2345678': 'decimals', عشرة: 'not_a_number' };
  for (const [typed, fault] of Object.entries(cases)) assert.equal(read(typed), fault, typed);
  assert.equal(read('100.01', { decimals: 2, most: 100 }), 'over_hundred');
  assert.equal(read('1.10000000', { decimals: 1 }), '1.1');
});

test('a server decimal in an input reads back as itself', () => {
  for (const value of ['0', '12.5', '1000000.000001', '794195.00', '0.10']) assert.equal(Number(read(plain(value))), Number(value));
  assert.equal(plain(null), '');
});

test('every item has one row, and every row one item or heading', () => {
  const counts = [3, 0, 1, 5];
  const sections = counts.map((items_count, id) => ({ id, items_count }));
  for (const folded of [[], [0], [3], [0, 2, 3]]) {
    const layout = new Layout(sections, 9, new Set(folded));
    const rows = Array.from({ length: layout.rows }, (_, row) => layout.at(row));
    const items = rows.filter((row) => row.kind === 'item').map((row) => row.index);
    const hidden = sections.filter(({ id }) => folded.includes(id)).reduce((sum, { items_count }) => sum + items_count, 0);
    assert.equal(items.length, 9 - hidden);
    assert.deepEqual(items, items.toSorted((a, b) => a - b));
    assert.equal(rows.length - items.length, 3);
    rows.forEach((row, at) => row.kind === 'item' && assert.equal(layout.rowOf(row.index), at));
  }
});

test('without sections the rows are the items; scattered sections are noticed', () => {
  const flat = new Layout([], 5);
  assert.deepEqual([flat.rows, flat.at(4)], [5, { kind: 'item', index: 4 }]);
  const layout = new Layout([{ id: 7, items_count: 2 }, { id: 8, items_count: 2 }], 4);
  assert.equal(layout.agrees(1, 7), true);
  assert.equal(layout.agrees(1, 8), false);
  assert.equal(layout.agrees(2, null), false);
});

test('text has a contrast of 4.5 on every ground in both themes', () => {
  const css = readFileSync(new URL('lib/tokens.css', root), 'utf8');
  const tokens = Object.fromEntries([...css.matchAll(/--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)/g)].map(([, name, ...pair]) => [name, pair]));
  const channel = (value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const light = (hex) => [1, 3, 5].map((at) => channel(parseInt(hex.slice(at, at + 2), 16) / 255)).reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  const pairs = [['accent-ink', 'accent']];
  for (const text of ['ink', 'muted', 'accent', 'ok', 'warn', 'bad', 'info']) for (const ground of ['bg', 'surface', 'raised', 'sunken']) pairs.push([text, ground]);
  pairs.push(['ink', 'accent-soft'], ['muted', 'accent-soft'], ['accent', 'accent-soft']);
  for (const [text, ground] of pairs) for (const theme of [0, 1]) assert.ok(contrast(tokens[text][theme], tokens[ground][theme]) >= 4.5, `${text} on ${ground}, theme ${theme}: ${contrast(tokens[text][theme], tokens[ground][theme]).toFixed(2)}`);
});

test('the overview says the worst first, and since when', () => {
  const alert = (level, since) => ({ name: 'cpu', metric: 'cpu', level, value: 1, threshold: 1, since, message_en: 'x', message_ar: 'س' });
  const runtime = { started_at: '2026-11-01T08:00:00+03:00' };
  assert.deepEqual(judge({}), { tone: 'ok', since: null, reasons: [] });
  assert.equal(judge({ runtime, alerts: { active: [], recent: [{ ...alert('warning', '2026-11-02T07:00:00Z'), ended: '2026-11-02T08:00:00Z' }] } }).since, '2026-11-02T08:00:00Z');
  const check = (status, required) => [{ status, required, time: '' }];
  const seen = judge({ runtime, alerts: { active: [alert('warning', '2026-11-03T08:00:00+03:00'), alert('warning', '2026-11-03T06:00:00Z')], recent: [] }, health: { status: 'fail', checks: { قاعدة: check('fail', true), redis: check('fail', false), disk: check('pass', true) } } });
  assert.deepEqual([seen.tone, seen.since, seen.reasons.length], ['bad', '2026-11-03T08:00:00+03:00', 4]);
  assert.deepEqual([seen.reasons[0].kind, seen.reasons[0].name], ['check', 'قاعدة']);
  assert.equal(judge({ host: { status: 'critical', warnings: ['القرص ممتلئ'] }, errors: { counts: { regressed: 2 } } }).tone, 'bad');
  assert.equal(judge({ health: { status: 'fail' } }).tone, 'bad');
  assert.equal(judge({ errors: { counts: { open: 9, regressed: 0 } } }).tone, 'ok');
  assert.equal(judge({ health: { status: 'pass', draining: true, checks: {} } }).tone, 'bad');
});

test('rows are sorted by number or by word, both ways', () => {
  const rows = [{ route: 'ب', count: 9 }, { route: 'أ', count: 10 }, { route: 'ت', count: 2 }];
  const by = (sort) => sorted(rows, sort).map((row) => row.count);
  assert.deepEqual([by('-count'), by('count'), by('route'), by('-route')], [[10, 9, 2], [2, 9, 10], [10, 9, 2], [2, 9, 10]]);
});
