import { ApiError, request } from '../lib/api';
import type * as shape from './types';

export const API = '/_rakiza/api';

type Values = Record<string, string | number | boolean | null | undefined>;

/** The query of what is given; empty values are left out. */
export function query(values: Values): string {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== '');
  const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return search && `?${search}`;
}

const get = <T>(path: string, values: Values, signal?: AbortSignal): Promise<T> => request('GET', API + path + query(values), undefined, signal);
const of = (id: string | number): string => encodeURIComponent(id);

export const hostHealth = (signal?: AbortSignal): Promise<shape.HostHealth> => get('/monitoring/health', {}, signal);
export const hostMetrics = (signal?: AbortSignal): Promise<shape.HostMetrics> => get('/monitoring/metrics', {}, signal);
export const processes = (top: number, signal?: AbortSignal): Promise<{ processes: shape.Process[] }> => get('/monitoring/processes', { top }, signal);
export const history = (range: shape.Range, signal?: AbortSignal): Promise<shape.History> => get('/monitoring/history', { range }, signal);
export const requests = (minutes: number, signal?: AbortSignal): Promise<shape.RequestFigures> => get('/monitoring/requests', { minutes }, signal);
export const slow = (signal?: AbortSignal): Promise<shape.Slow> => get('/monitoring/slow', {}, signal);
export const alerts = (signal?: AbortSignal): Promise<shape.Alerts> => get('/monitoring/alerts', {}, signal);
export const runtime = (signal?: AbortSignal): Promise<shape.Runtime> => get('/monitoring/runtime', {}, signal);
export const cacheStats = (signal?: AbortSignal): Promise<shape.CacheStats> => get('/cache/stats', {}, signal);
export const backupStats = (signal?: AbortSignal): Promise<shape.BackupStats> => get('/backup/stats', {}, signal);

/** The report of every check; a failing one answers 503 and is a report all the same. */
export async function health(signal?: AbortSignal): Promise<shape.HealthReport> {
  try {
    return await request('GET', '/_rakiza/healthz', undefined, signal);
  } catch (error) {
    if (error instanceof ApiError && error.status === 503 && error.body.checks) return error.body as unknown as shape.HealthReport;
    throw error;
  }
}

export const logs = (values: shape.LogQuery, signal?: AbortSignal): Promise<shape.LogPage> => get('/logs', { ...values }, signal);
export const logFiles = (signal?: AbortSignal): Promise<shape.LogFiles> => get('/logs/files', {}, signal);
export const logLevels = (signal?: AbortSignal): Promise<shape.LogLevels> => get('/logs/levels', {}, signal);
export const setLogLevel = (logger: string, level: string, seconds: number): Promise<unknown> => request('PUT', `${API}/logs/levels/${of(logger)}`, { level, seconds });
export const resetLogLevel = (logger: string): Promise<unknown> => request('DELETE', `${API}/logs/levels/${of(logger)}`);
export const logDownload = (name: string): string => `${API}/logs/download/${of(name)}`;
export const logStream = (values: Pick<shape.LogQuery, 'file' | 'q' | 'level' | 'logger'>): string => `${API}/logs/stream${query(values)}`;

export const traces = (values: shape.TraceQuery, signal?: AbortSignal): Promise<shape.Cursored<shape.TraceHead>> => get('/traces', { ...values }, signal);
export const trace = (id: string, signal?: AbortSignal): Promise<shape.Trace> => get(`/traces/${of(id)}`, {}, signal);

export interface ErrorQuery {
  state?: shape.ErrorState | 'all';
  q?: string;
  limit?: number;
  cursor?: string | null;
}

export const errors = (values: ErrorQuery, signal?: AbortSignal): Promise<shape.ErrorPage> => get('/errors', { ...values }, signal);
export const error = (id: string, signal?: AbortSignal): Promise<shape.ErrorDetail> => get(`/errors/${of(id)}`, {}, signal);
export const setErrorState = (id: string | number, state: 'resolved' | 'ignored' | 'open'): Promise<shape.ErrorGroup> => request('POST', `${API}/errors/${of(id)}/state`, { state });
