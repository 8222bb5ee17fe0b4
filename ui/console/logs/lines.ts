import type { LogFile, LogLine, LogPage } from '../types';

export const FILES = ['app', 'errors', 'debug', 'requests', 'audit'] as const;
export const RANGES = { '15m': 900, '1h': 3600, '24h': 86_400, '7d': 604_800 } as const;
export type Since = keyof typeof RANGES;
/** Levels as they are chosen: some ask for what is worse too. */
export const LEVELS = { warning: 'WARNING,ERROR,CRITICAL', error: 'ERROR,CRITICAL', DEBUG: 'DEBUG', INFO: 'INFO', WARNING: 'WARNING' } as const;

export interface Found {
  file: LogFile;
  line: LogLine;
}

export interface FoundPage {
  items: Found[];
  /** Cursors of the files that hold more. */
  next_cursor: string | null;
  scanned_bytes: number;
  complete: boolean;
  took_ms: number;
}

/** A quick range as the moment it begins. */
export function begins(range: string | null, now: number): string | undefined {
  return range !== null && Object.hasOwn(RANGES, range) ? new Date(now - RANGES[range as Since] * 1000).toISOString() : undefined;
}

/** Which files to read from where: all of them at first, then those that hold more. */
export function cursors(files: readonly LogFile[], cursor: string | null): [LogFile, string | null][] {
  return cursor ? (JSON.parse(cursor) as [LogFile, string][]) : files.map((file) => [file, null]);
}

/** Pages of several files as one, newest first; a line that stands in two of them is shown once. */
export function merged(pages: [LogFile, LogPage][]): FoundPage {
  const before = new Set<string>();
  const items: Found[] = [];
  for (const [file, page] of pages) {
    const fresh = page.items.map((line) => ({ line, text: JSON.stringify(line) })).filter(({ text }) => !before.has(text));
    for (const { line, text } of fresh) {
      items.push({ file, line });
      before.add(text);
    }
  }
  const more = pages.flatMap(([file, page]) => (page.next_cursor ? [[file, page.next_cursor]] : []));
  return {
    items: pages.length > 1 ? newestFirst(items) : items,
    next_cursor: more.length ? JSON.stringify(more) : null,
    scanned_bytes: pages.reduce((sum, [, page]) => sum + page.scanned_bytes, 0),
    complete: pages.every(([, page]) => page.complete),
    took_ms: Math.max(0, ...pages.map(([, page]) => page.took_ms)),
  };
}

export const newestFirst = (items: Found[]): Found[] => items.toSorted((a, b) => Date.parse(b.line.timestamp) - Date.parse(a.line.timestamp));

/** Put what came in front and let the oldest go. */
export const inFront = <T>(fresh: T[], lines: T[], most: number): T[] => [...fresh.toReversed(), ...lines].slice(0, most);

/** What a line says in a word at its head, and whether that is bad. */
export function mark(line: LogLine): { word: string; tone: 'bad' | 'warn' | null } {
  if (line.status_code !== undefined) return { word: String(line.status_code), tone: line.status_code >= 500 ? 'bad' : line.status_code >= 400 ? 'warn' : null };
  if (line.level === undefined) return { word: line.action ?? '', tone: line.details?.['success'] === false ? 'bad' : null };
  return { word: line.level, tone: line.level === 'ERROR' || line.level === 'CRITICAL' ? 'bad' : line.level === 'WARNING' ? 'warn' : null };
}

/** The sentence of a line, whatever file it stands in. */
export function sentence(line: LogLine): string {
  if (line.message !== undefined) return line.message;
  if (line.method !== undefined) return `${line.method} ${line.path ?? ''}`;
  return [line.event_type, line.resource].filter(Boolean).join(' · ') || JSON.stringify(line);
}
