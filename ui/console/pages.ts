import { root } from './paths';

export const pages = {
  overview: () => import('./pages/Overview.svelte'),
  health: () => import('./pages/Health.svelte'),
  requests: () => import('./pages/Requests.svelte'),
  traces: () => import('./pages/Traces.svelte'),
  trace: () => import('./pages/Trace.svelte'),
  logs: () => import('./pages/Logs.svelte'),
  errors: () => import('./pages/Errors.svelte'),
  error: () => import('./pages/ErrorDetail.svelte'),
  events: () => import('./pages/Events.svelte'),
  event: () => import('./pages/EventDetail.svelte'),
  projections: () => import('./pages/Projections.svelte'),
  audit: () => import('./pages/Audit.svelte'),
  jobs: () => import('./pages/Jobs.svelte'),
  job: () => import('./pages/JobDetail.svelte'),
  schedules: () => import('./pages/Schedules.svelte'),
  cache: () => import('./pages/Cache.svelte'),
  resilience: () => import('./pages/Resilience.svelte'),
  backups: () => import('./pages/Backups.svelte'),
  account: () => import('../lib/components/Account.svelte'),
  signIn: () => import('../lib/components/SignIn.svelte'),
  palette: () => import('../lib/components/Palette.svelte'),
};

export type PageName = Exclude<keyof typeof pages, 'palette'>;

const NAMED: PageName[] = ['health', 'requests', 'traces', 'logs', 'errors', 'jobs', 'schedules', 'cache', 'resilience', 'backups', 'events', 'projections', 'audit', 'account'];
const LISTS: Record<string, PageName> = { '': 'overview', 'sign-in': 'signIn', ...Object.fromEntries(NAMED.map((name) => [name, name])) };
const DETAILS: Record<string, PageName> = { traces: 'trace', errors: 'error', events: 'event', jobs: 'job' };

/** The page that a path shows, with the id in it where it has one. */
export function route(path: string): { page: PageName | null; id: string } {
  const [first = '', second = '', ...more] = path.slice(root.length).split('/');
  if (!path.startsWith(root) || more.length > 0) return { page: null, id: '' };
  if (['events', 'jobs'].includes(first) && second && !/^\d{1,15}$/.test(second)) return { page: null, id: '' }; // an event is named by its position, a job by its number
  if (second) return { page: DETAILS[first] ?? null, id: decodeURIComponent(second) };
  return { page: LISTS[first] ?? null, id: '' };
}
