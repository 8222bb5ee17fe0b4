import { events, type StreamState } from '../../lib/events';
import type { LogFile, LogLine } from '../types';
import { inFront, type Found } from './lines';

export const MOST_LINES = 1000;
const SHOWN_EVERY_MS = 300;

/** New lines of a file while they are written, newest first; what comes while it is paused waits. */
export class Tail {
  lines = $state.raw<Found[]>([]);
  /** How many of the first are new since the last look. */
  fresh = $state(0);
  waiting = $state(0);
  paused = $state(false);
  state = $state<StreamState>('connecting');
  #held: Found[] = [];

  follow(url: string, file: LogFile): () => void {
    this.lines = [];
    this.#held = [];
    this.fresh = this.waiting = 0;
    this.paused = false;
    const stop = events(
      url,
      (data) => {
        this.#held.push({ file, line: JSON.parse(data) as LogLine });
        if (this.#held.length > MOST_LINES) this.#held.shift();
      },
      (state) => (this.state = state),
    );
    const timer = setInterval(() => this.#show(), SHOWN_EVERY_MS);
    return () => {
      stop();
      clearInterval(timer);
    };
  }

  toggle(): void {
    this.paused = !this.paused;
    this.#show();
  }

  #show(): void {
    this.waiting = this.paused ? this.#held.length : 0;
    if (this.paused || !this.#held.length) return;
    this.fresh = this.#held.length;
    this.lines = inFront(this.#held, this.lines, MOST_LINES);
    this.#held = [];
  }
}
