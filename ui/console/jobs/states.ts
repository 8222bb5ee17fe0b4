import type { JobAction, JobState } from '../types';

/** The states as people see them, in the order of a job's life. */
export const STATES: readonly JobState[] = ['running', 'ready', 'delayed', 'waiting', 'retry', 'failed', 'done', 'cancelled'];

/** What may be done with a job in each state. */
export const ACTIONS: Record<JobState, readonly JobAction[]> = {
  running: ['cancel'],
  ready: ['cancel'],
  delayed: ['run', 'cancel'],
  waiting: ['cancel'],
  retry: ['run', 'discard'],
  failed: ['retry', 'discard'],
  done: [],
  cancelled: ['retry'],
};

/** The moment of a job that its list is about. */
export const MOMENTS: Record<JobState, 'started_at' | 'created_at' | 'run_at' | 'finished_at'> = {
  running: 'started_at',
  ready: 'run_at',
  delayed: 'run_at',
  waiting: 'created_at',
  retry: 'run_at',
  failed: 'finished_at',
  done: 'finished_at',
  cancelled: 'finished_at',
};

/** What a text of JSON holds, or the line it can not be read at, where that is known. */
export function parseJson(text: string): { value: unknown } | { line: number | null } {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch (error) {
    const said = String(error);
    const line = /line (\d+)/.exec(said)?.[1];
    const position = /position (\d+)/.exec(said)?.[1];
    if (line) return { line: Number(line) };
    return { line: position ? text.slice(0, Number(position)).split('\n').length : null };
  }
}

/** The trace in a W3C traceparent. */
export const traceOf = (traceparent: string | null): string | null => /^(?:[0-9a-f]{2}-)?([0-9a-f]{32})/.exec(traceparent ?? '')?.[1] ?? null;
