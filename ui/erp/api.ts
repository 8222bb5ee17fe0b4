import { request, upload } from '../lib/api';
import type { Editable, History, ImportState, Item, Page, Project, ProjectInput, Report, Summary } from './types';

const project = (code: string): string => `/api/projects/${encodeURIComponent(code)}`;

export function projects(cursor: string | null = null, signal?: AbortSignal): Promise<Page<Project>> {
  const query = new URLSearchParams({ limit: '50', ...(cursor ? { cursor } : {}) });
  return request('GET', `/api/projects?${query}`, undefined, signal);
}

export const createProject = (input: ProjectInput): Promise<Project> => request('POST', '/api/projects', input);
export const getProject = (code: string, signal?: AbortSignal): Promise<Project> => request('GET', project(code), undefined, signal);
export const updateProject = (code: string, change: ProjectInput & { version: number }): Promise<Project> => request('PATCH', project(code), change);

export const summary = (code: string, signal?: AbortSignal): Promise<Summary> => request('GET', `${project(code)}/boq/summary`, undefined, signal);

export interface ItemQuery {
  q: string;
  section: string;
  sort: string;
}

export function items(code: string, query: ItemQuery, offset: number, limit: number, signal?: AbortSignal): Promise<Page<Item>> {
  const search = new URLSearchParams({ limit: String(limit), offset: String(offset), sort: query.sort });
  if (query.q) search.set('q', query.q);
  if (query.section) search.set('section', query.section);
  return request('GET', `${project(code)}/boq/items?${search}`, undefined, signal);
}

export function updateItem(code: string, id: number, version: number, change: Partial<Record<Editable, string>>): Promise<Item> {
  return request('PATCH', `${project(code)}/boq/items/${id}`, { version, ...change });
}

export const history = (code: string, id: number, signal?: AbortSignal): Promise<History> => request('GET', `${project(code)}/boq/items/${id}/history`, undefined, signal);

/** A large file is imported by a job, whose number is the answer. */
export function importBoq(code: string, file: File, dryRun: boolean, onProgress: (share: number) => void, signal: AbortSignal): Promise<Report | { job_id: number }> {
  return upload(`${project(code)}/boq/import?dry_run=${dryRun}`, file, onProgress, signal);
}

export const importState = (code: string, job: number, signal: AbortSignal): Promise<ImportState> => request('GET', `${project(code)}/imports/${job}`, undefined, signal);

export const exportUrl = (code: string, lang: 'ar' | 'en'): string => `${project(code)}/boq/export.xlsx?lang=${lang}`;
