import type { Span, Trace } from '../types';

/** Rows of a trace that are shown; what is beyond is counted. */
export const MOST_ROWS = 500;
const DEEPEST_INDENT = 12;
const SLOW_SHARE = 0.25;
const LABEL_SHARE = 0.25;
const MOST_TICKS = 5;

export interface Row {
  span: Span;
  /** Steps of the indent: the deepest share one. */
  indent: number;
  depth: number;
  /** Places of the rows above it that hold it, the outermost first. */
  within: number[];
  children: number;
  /** Its parent was not kept. */
  orphan: boolean;
  /** Its own time, without that of its children, is a good part of the whole. */
  slow: boolean;
  own_ms: number;
  /** Percent of the whole. */
  start: number;
  width: number;
  /** Where the words of the bar have room. */
  label: 'after' | 'before' | 'inside';
}

export interface Waterfall {
  rows: Row[];
  from_ms: number;
  total_ms: number;
  hidden: number;
  orphans: number;
}

const end = (span: Span): number => span.start_ms + span.duration_ms;
const byStart = (a: Span, b: Span): number => a.start_ms - b.start_ms || end(b) - end(a);
/** Whose parent stands in another process by right. */
const enters = (span: Span): boolean => span.kind === 'server' || span.kind === 'consumer';

function covered(span: Span, children: Span[]): number {
  let sum = 0;
  let upto = span.start_ms;
  for (const child of children.toSorted(byStart)) {
    const from = Math.max(upto, child.start_ms);
    const to = Math.min(end(child), end(span));
    if (to > from) {
      sum += to - from;
      upto = to;
    }
  }
  return sum;
}

/** Lay the spans out as a tree by time; a span whose parent is unknown stands at the root. */
export function arrange(trace: Pick<Trace, 'spans' | 'duration_ms'>): Waterfall {
  const spans = [...new Map(trace.spans.map((span) => [span.span_id, span])).values()].toSorted(byStart);
  const known = new Set(spans.map((span) => span.span_id));
  const children = new Map<string, Span[]>();
  for (const span of spans) {
    const parent = span.parent_id;
    if (parent && known.has(parent)) children.set(parent, [...(children.get(parent) ?? []), span]);
  }
  const from_ms = Math.min(0, ...spans.map((span) => span.start_ms));
  const total_ms = Math.max(trace.duration_ms, ...spans.map(end), from_ms + 0.001) - from_ms;
  const rows: Row[] = [];
  const seen = new Set<string>();
  const share = (ms: number): number => (ms * 100) / total_ms;

  function add(first: Span, lost: boolean): void {
    const stack = [{ span: first, within: [] as number[], orphan: lost }];
    for (let one = stack.pop(); one; one = stack.pop()) {
      const { span, within, orphan } = one;
      if (seen.has(span.span_id)) continue;
      seen.add(span.span_id);
      const below = children.get(span.span_id) ?? [];
      const own_ms = Math.max(0, span.duration_ms - covered(span, below));
      const start = share(span.start_ms - from_ms);
      const width = share(span.duration_ms);
      const label = 100 - start - width >= LABEL_SHARE * 100 ? 'after' : start >= LABEL_SHARE * 100 ? 'before' : 'inside';
      rows.push({ span, indent: Math.min(within.length, DEEPEST_INDENT), depth: within.length, within, children: below.length, orphan, slow: spans.length > 1 && own_ms >= SLOW_SHARE * total_ms, own_ms, start, width, label });
      const inside = [...within, rows.length - 1];
      for (const child of below.toReversed()) stack.push({ span: child, within: inside, orphan: false });
    }
  }

  for (const span of spans) if (!span.parent_id || !known.has(span.parent_id)) add(span, !!span.parent_id && !enters(span));
  for (const span of spans) add(span, true); // only those whose parents go in a circle are left
  return { rows: rows.slice(0, MOST_ROWS), from_ms, total_ms, hidden: Math.max(0, rows.length - MOST_ROWS), orphans: rows.filter((row) => row.orphan).length };
}

/** Places of the rows that no folded row holds. */
export function unfolded(rows: Row[], folded: ReadonlySet<number>): number[] {
  return rows.flatMap((row, at) => (row.within.some((above) => folded.has(above)) ? [] : [at]));
}

/** Round places of a time axis, the first at zero. */
export function ticks(total_ms: number): number[] {
  const rough = total_ms / MOST_TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((one) => one * power >= rough) ?? 10) * power;
  return Array.from({ length: Math.floor(total_ms / step) + 1 }, (_, at) => Number((at * step).toPrecision(12)));
}
