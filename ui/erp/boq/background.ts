import { ApiError, asApiError } from '../../lib/api';
import * as api from '../api';
import type { ImportState, Report } from '../types';

const POLL_MS = 1000;
const AWAY = [0, 502, 503, 504];
const key = (code: string): string => `import:${code}`;

/** The import of this project that this tab follows: it survives a reload. */
export const remembered = (code: string): number | null => Number(sessionStorage.getItem(key(code))) || null;
export const remember = (code: string, job: number): void => sessionStorage.setItem(key(code), String(job));
export const forget = (code: string): void => sessionStorage.removeItem(key(code));

/** Ask how far an import is until it has ended; `onstate` hears null while the server is away. Throws the reason when there is no report. */
export async function follow(code: string, job: number, onstate: (state: ImportState | null) => void, signal: AbortSignal): Promise<{ report: Report; dryRun: boolean }> {
  for (;;) {
    const state = await api.importState(code, job, signal).catch((caught: unknown) => {
      signal.throwIfAborted();
      const fault = asApiError(caught);
      if (!AWAY.includes(fault.status)) throw fault;
      return null;
    });
    onstate(state);
    if (state?.report) return { report: state.report, dryRun: state.dry_run };
    if (state?.problem) throw new ApiError(state.problem.status, state.problem);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    signal.throwIfAborted();
  }
}
