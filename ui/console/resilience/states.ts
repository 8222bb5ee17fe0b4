import type { Tone } from '../parts/State.svelte';
import type { Breaker } from '../types';

export type State = 'closed' | 'half_open' | 'open';
const HISTORY = 50; // changes that the server keeps

/** What a breaker does with calls, whatever forced it: `forced_open` is open. */
export const plain = (state: string): State => (state.includes('half') ? 'half_open' : state.includes('open') ? 'open' : 'closed');

export const TONES: Record<State, Tone> = { closed: 'ok', half_open: 'warn', open: 'bad' };

/** A time that a breaker spent in one state; in none where it is not known. Moments are in milliseconds. */
export interface Stretch {
  state: State | null;
  from: number;
  to: number;
}

/** The states of the last `seconds` until `now`, in order and without a gap. */
export function stretches(breaker: Pick<Breaker, 'history' | 'state' | 'since'>, now: number, seconds: number): Stretch[] {
  const begin = now - seconds * 1000;
  const changes = breaker.history.map((one) => ({ at: Date.parse(one.at), to: plain(one.to), from: plain(one.from) })).sort((a, b) => a.at - b.at);
  const first = changes[0];
  const known = first ? (changes.length < HISTORY ? first.from : null) : null;
  const points = first ? [{ at: -Infinity, state: known }, ...changes.map(({ at, to }) => ({ at, state: to }))] : [{ at: -Infinity, state: null }, { at: Date.parse(breaker.since), state: plain(breaker.state) }];
  return points
    .map(({ at, state }, index) => ({ state, from: Math.max(begin, at), to: Math.min(now, points[index + 1]?.at ?? now) }))
    .filter(({ from, to }) => to > from);
}
