import * as api from '../api';
import { failureOf, Part } from '../parts.svelte';
import type { Range } from '../types';

const SLOW_TICKS = 12;

/** What the overview shows; the long histories change slowly and are asked for once a minute. */
export class Feed {
  readonly host = new Part((signal) => api.hostHealth(signal));
  readonly metrics = new Part((signal) => api.hostMetrics(signal));
  readonly processes = new Part((signal) => api.processes(10, signal));
  readonly requests = new Part((signal) => api.requests(60, signal));
  readonly alerts = new Part((signal) => api.alerts(signal));
  readonly runtime = new Part((signal) => api.runtime(signal));
  readonly health = new Part((signal) => api.health(signal));
  readonly errors = new Part((signal) => api.errors({ state: 'open', limit: 1 }, signal));
  readonly history = new Part((signal) => api.history(this.range(), signal));
  /** Rooms that an application may lack: nothing is said of them while they are not there. */
  readonly cache = new Part((signal) => api.cacheStats(signal));
  readonly jobs = new Part((signal) => api.jobStats(signal));
  readonly backup = new Part((signal) => api.backupStats(signal));
  readonly main = [this.host, this.metrics, this.requests, this.history, this.alerts, this.runtime, this.health, this.errors, this.processes];
  /** What the verdict is of. */
  readonly judges = [this.host, this.alerts, this.health, this.errors, this.runtime];
  #ticks = 0;

  constructor(private readonly range: () => Range) {}

  async load(): Promise<void> {
    const due = this.#ticks++ % SLOW_TICKS === 0;
    const quick = [this.host, this.metrics, this.requests, this.alerts, this.runtime, this.health, this.errors, this.processes, this.cache, this.jobs];
    const now = [...quick, ...(due ? [this.backup] : []), ...(due || this.range() === '1h' ? [this.history] : [])];
    await Promise.all(now.map((part) => part.refresh()));
  }

  get failure() {
    return failureOf(this.main);
  }
}
