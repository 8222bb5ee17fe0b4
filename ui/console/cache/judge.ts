import type { Tone } from '../parts/State.svelte';
import type { CacheHistory } from '../types';

const LOW = 70;
const GOOD = 80;
const EXCELLENT = 90;
const SHOWN = 6; // as many as there are colours

export type Judgement = 'low' | 'fair' | 'good' | 'excellent';
export const TONES: Record<Judgement, Tone | undefined> = { low: 'warn', fair: undefined, good: 'ok', excellent: 'ok' };

/** What a hit rate in percent is worth, by the specification's limits; nothing where nobody asked yet. */
export function judged(rate: number, asked: number): Judgement | null {
  if (!asked) return null;
  if (rate < LOW) return 'low';
  return rate > EXCELLENT ? 'excellent' : rate > GOOD ? 'good' : 'fair';
}

const sum = (values: (number | null)[]): number => values.reduce<number>((all, one) => all + (one ?? 0), 0);

/** The hit rate over time of the prefixes asked most, or of `only` one; null where nobody asked. */
export function rates(history: CacheHistory, only: string | null): { prefix: string; values: (number | null)[] }[] {
  return history.series
    .map((one) => ({ ...one, asked: sum(one.hits) + sum(one.misses) }))
    .filter((one) => one.asked && (only === null || one.prefix === only))
    .sort((a, b) => b.asked - a.asked)
    .slice(0, SHOWN)
    .sort((a, b) => a.prefix.localeCompare(b.prefix)) // a colour stays with its prefix
    .map(({ prefix, hits, misses }) => ({
      prefix,
      values: hits.map((hit, at) => {
        const asked = (hit ?? 0) + (misses[at] ?? 0);
        return asked ? ((hit ?? 0) * 100) / asked : null;
      }),
    }));
}
