export interface Change {
  path: string;
  /** Undefined where the field is not there. */
  from: unknown;
  to: unknown;
}

export interface Difference {
  /** The event says itself from what to what, it is compared with the one before, or nothing is before it. */
  kind: 'stated' | 'compared' | 'first';
  changes: Change[];
}

type Fields = Record<string, unknown>;
const fields = (value: unknown): value is Fields => typeof value === 'object' && value !== null;
const pair = (value: Fields): boolean => Object.keys(value).sort().join() === 'from,to';
const step = (path: string, key: string): string => (path && `${path}.`) + (/^[^."\s]+$/.test(key) ? key : JSON.stringify(key));

/** Every value with its dotted path; what is empty is a value too. */
export function flat(value: unknown, path = '', found = new Map<string, unknown>()): Map<string, unknown> {
  if (fields(value) && Object.keys(value).length) for (const [key, inner] of Object.entries(value)) flat(inner, step(path, key), found);
  else if (path || fields(value) === false) found.set(path, value);
  return found;
}

function stated(value: unknown, path = ''): Change[] {
  if (!fields(value)) return [];
  if (path && !Array.isArray(value) && pair(value)) return [{ path, from: value.from, to: value.to }];
  return Object.entries(value).flatMap(([key, inner]) => stated(inner, step(path, key)));
}

/** What an event changed: its own {from, to} pairs, or its fields against those of the event before in its stream. */
export function difference(payload: unknown, before: unknown, first: boolean): Difference {
  const pairs = stated(payload);
  if (pairs.length) return { kind: 'stated', changes: pairs };
  const [old, fresh] = [flat(first ? {} : before), flat(payload)];
  const paths = [...new Set([...old.keys(), ...fresh.keys()])];
  const same = (path: string): boolean => old.has(path) === fresh.has(path) && JSON.stringify(old.get(path)) === JSON.stringify(fresh.get(path));
  return { kind: first ? 'first' : 'compared', changes: paths.filter((path) => !same(path)).map((path) => ({ path, from: old.get(path), to: fresh.get(path) })) };
}

/** JSON cut into its strings and what stands between them: each string keeps its own direction. */
export function tokens(json: string): { text: string; kind: 'key' | 'string' | 'rest' }[] {
  return json.split(/("(?:[^"\\]|\\.)*")/).map((text, at, all) => ({ text, kind: at % 2 === 0 ? 'rest' : all[at + 1]?.startsWith(':') ? 'key' : 'string' }));
}
