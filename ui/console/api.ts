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

const cursored = <T>(items: T[], next: string | number | null): shape.Cursored<T> => ({ items, next_cursor: next === null ? null : String(next) });

export async function events(values: shape.EventQuery, before: string | null, signal?: AbortSignal): Promise<shape.Cursored<shape.EventRow>> {
  const page = await get<{ events: shape.EventRow[]; next_before: number | null }>('/events', { ...values, before, limit: 50 }, signal);
  return cursored(page.events, page.next_before);
}

export async function streams(values: { aggregate_type?: string; q?: string }, after: string | null, signal?: AbortSignal): Promise<shape.StreamPage> {
  const page = await get<{ streams: shape.StreamRow[]; next_after: string | null; types: string[] }>('/events/streams', { ...values, after, limit: 50 }, signal);
  return { ...cursored(page.streams, page.next_after), types: page.types };
}

export const event = (position: string, signal?: AbortSignal): Promise<shape.EventDetail> => get(`/events/${of(position)}`, {}, signal);
export const eventStats = (signal?: AbortSignal): Promise<shape.EventStats> => get('/events/stats', {}, signal);

const projection = (name: string): string => `/events/projections/${of(name)}`;
export const projections = (signal?: AbortSignal): Promise<shape.Projections> => get('/events/projections', {}, signal);
export const rebuild = (name: string): Promise<unknown> => request('POST', `${API}${projection(name)}/rebuild`);
export const deadLetters = (name: string, signal?: AbortSignal): Promise<{ dead_letters: shape.DeadLetter[] }> => get(`${projection(name)}/dead-letters`, {}, signal);
export const retryLetters = (name: string, positions: number[] | null): Promise<{ retried: number; resolved: number }> => request('POST', `${API}${projection(name)}/dead-letters/retry`, { positions });

export async function audit(values: shape.AuditQuery, before: string | null, signal?: AbortSignal): Promise<shape.AuditPage> {
  const page = await get<{ records: shape.AuditRecord[]; next_before: number | null; sealed: number; head: number }>('/audit', { ...values, before, limit: 50 }, signal);
  return { ...cursored(page.records, page.next_before), sealed: page.sealed, head: page.head };
}

export const seal = (signal?: AbortSignal): Promise<shape.Seal> => get('/audit/seal', {}, signal);
export const verification = (signal?: AbortSignal): Promise<shape.Verification> => get('/audit/verify', {}, signal);
export const verify = (): Promise<shape.Verification> => request('POST', `${API}/audit/verify`);
export const proof = (position: number, signal?: AbortSignal): Promise<shape.Proof> => get(`/audit/proof/${position}`, {}, signal);
export const auditExport = (values: { since?: string; until?: string }): string => `${API}/audit/export${query(values)}`;

export async function jobs(values: shape.JobFilter, after: string | null, signal?: AbortSignal): Promise<shape.JobPage> {
  const page = await get<{ jobs: shape.JobLine[]; next: string | number | null; total: number | null }>('/jobs', { ...values, after, limit: 50 }, signal);
  return { ...cursored(page.jobs, page.next), total: page.total };
}

const send = <T>(method: string, path: string, body?: unknown): Promise<T> => request(method, `${API}/jobs${path}`, body);
export const jobStats = (signal?: AbortSignal): Promise<shape.JobStats> => get('/jobs/stats', {}, signal);
export const job = (id: string, signal?: AbortSignal): Promise<shape.JobDetail> => get(`/jobs/${of(id)}`, {}, signal);
export const jobHistory = (minutes: number, queue: string, signal?: AbortSignal): Promise<shape.JobHistory> => get('/jobs/history', { minutes, queue }, signal);
export const changeJob = (id: number, action: shape.JobAction, body: { payload?: unknown } = {}): Promise<shape.JobLine> => send('POST', `/${id}/${action}`, body);
export function changeJobs(action: shape.JobAction, selection: shape.JobSelection, dry_run: boolean): Promise<{ matched: number; changed: number }> {
  const meant = 'ids' in selection ? selection : { filter: Object.fromEntries(Object.entries(selection.filter).filter(([, value]) => value)) };
  return send('POST', '/bulk', { action, ...meant, dry_run });
}

export const addJob = (one: shape.NewJob): Promise<shape.JobLine> => send('POST', '', one);
export const pauseQueue = (name: string, paused: boolean): Promise<shape.QueueLine> => send('POST', `/queues/${of(name)}/${paused ? 'pause' : 'resume'}`);
export const scaleQueue = (name: string, limits: shape.QueueLimits): Promise<shape.QueueLine> => send('PATCH', `/queues/${of(name)}`, limits);

export const schedules = (signal?: AbortSignal): Promise<shape.Schedules> => get('/jobs/schedules', {}, signal);
export const changeSchedule = (name: string, action: 'pause' | 'resume' | 'run'): Promise<shape.ScheduleLine> => send('POST', `/schedules/${of(name)}/${action}`);
export const editSchedule = (name: string, body: shape.Timing & { payload: unknown; missed: string }): Promise<shape.ScheduleLine> => send('PUT', `/schedules/${of(name)}`, body);
export const deleteSchedule = (name: string): Promise<unknown> => send('DELETE', `/schedules/${of(name)}`);
export const foresee = (timing: shape.Timing): Promise<shape.Foreseen> => send('POST', '/schedules/preview', timing);

export const cacheStats = (signal?: AbortSignal): Promise<shape.CacheStats> => get('/cache/stats', {}, signal);
export const cachePrefixes = (signal?: AbortSignal): Promise<{ prefixes: shape.CachePrefix[] }> => get('/cache/prefixes', {}, signal);
export const cacheHistory = (range: string, signal?: AbortSignal): Promise<shape.CacheHistory> => get('/cache/history', { range }, signal);
export const cacheMisses = (signal?: AbortSignal): Promise<{ keys: { key: string; misses: number }[] }> => get('/cache/misses', {}, signal);
export async function cacheKeys(values: { q: string; prefix: string }, cursor: string | null, signal?: AbortSignal): Promise<shape.CacheKeyPage> {
  const page = await get<{ keys: shape.CacheKey[]; next: string | null; total: number }>('/cache/keys', { ...values, cursor }, signal);
  return { ...cursored(page.keys, page.next), total: page.total };
}

export const evict = (target: shape.CacheTarget): Promise<{ evicted: number }> => request('POST', `${API}/cache/evict`, target);
export const clearCache = (): Promise<unknown> => request('POST', `${API}/cache/clear`);

export const resilience = (signal?: AbortSignal): Promise<shape.Resilience> => get('/resilience', {}, signal);
export const changeBreaker = (name: string, action: 'open' | 'close' | 'reset', body: { for_seconds?: number; reason?: string } = {}): Promise<shape.Breaker> => request('POST', `${API}/resilience/breakers/${of(name)}/${action}`, body);

export const backupStats = (signal?: AbortSignal): Promise<shape.BackupStats> => get('/backup/stats', {}, signal);
export const backups = (signal?: AbortSignal): Promise<{ backups: shape.BackupLine[] }> => get('/backup/list', {}, signal);
export const backupStatus = (signal?: AbortSignal): Promise<shape.BackupStatus> => get('/backup/status', {}, signal);
export const createBackup = (): Promise<shape.BackupAnswer> => request('POST', `${API}/backup/create`);
export const drillBackup = (): Promise<shape.BackupAnswer> => request('POST', `${API}/backup/drill`);
export const verifyBackup = (name: string): Promise<shape.BackupAnswer> => request('POST', `${API}/backup/verify/${of(name)}`);
export const restoreBackup = (name: string, safety_backup: boolean): Promise<shape.BackupAnswer> => request('POST', `${API}/backup/restore/${of(name)}`, { confirm: name, safety_backup });
export const undoRestore = (confirm: string): Promise<shape.BackupAnswer> => request('POST', `${API}/backup/undo`, { confirm });
export const backupsAway = (signal?: AbortSignal): Promise<{ backups: shape.BackupAway[] }> => get('/backup/offsite', {}, signal);
export const copyBackup = (name: string): Promise<shape.BackupAnswer> => request('POST', `${API}/backup/offsite/${of(name)}`);
export const fetchBackup = (url: string, filename: string): Promise<shape.BackupAnswer> => request('POST', `${API}/backup/fetch`, { url, filename });
export const pinBackup = (name: string, pinned: boolean): Promise<unknown> => request('POST', `${API}/backup/pin/${of(name)}`, { pinned });
export const deleteBackup = (name: string): Promise<unknown> => request('DELETE', `${API}/backup/delete/${of(name)}`);
export const backupDownload = (name: string): string => `${API}/backup/download/${of(name)}`;
