/** Where the console stands: an application that has its own /console/ leaves ours under /_rakiza/. */
const base = location.pathname.startsWith('/_rakiza/') ? '/_rakiza/console' : '/console';

export const root = `${base}/`;

/** The path of a page of the console; what is given in `query` and empty is left out. */
export function to(page: string, query: Record<string, string | null | undefined> = {}): string {
  const search = new URLSearchParams(Object.entries(query).filter((pair): pair is [string, string] => !!pair[1])).toString();
  return root + page + (search && `?${search}`);
}

export const traceAt = (id: string): string => to(`traces/${encodeURIComponent(id)}`);
export const errorAt = (id: string | number): string => to(`errors/${encodeURIComponent(id)}`);
export const logsOf = (query: { request_id?: string | null; trace_id?: string | null; logger?: string | null; level?: string | null }): string => to('logs', query);
export const eventAt = (position: string | number): string => to(`events/${position}`);
export const streamAt = (aggregate_type: string, aggregate_id: string): string => to('events', { tab: 'stream', aggregate_type, aggregate_id });
export const jobAt = (id: string | number): string => to(`jobs/${id}`);
