export const pages = {
  account: () => import('../lib/components/Account.svelte'),
  boq: () => import('./pages/Boq.svelte'),
  project: () => import('./pages/Project.svelte'),
  projects: () => import('./pages/Projects.svelte'),
  signIn: () => import('../lib/components/SignIn.svelte'),
  palette: () => import('../lib/components/Palette.svelte'),
};

/** The page that a path shows, with the project's code where it has one. */
export function route(path: string): { page: 'account' | 'boq' | 'project' | 'projects' | 'signIn' | null; code: string | null } {
  if (path === '/sign-in') return { page: 'signIn', code: null };
  if (path === '/' || path === '/projects') return { page: 'projects', code: null };
  if (path === '/account') return { page: 'account', code: null };
  const match = /^\/projects\/([^/]+)(\/boq)?\/?$/.exec(path);
  return match ? { page: match[2] ? 'boq' : 'project', code: decodeURIComponent(match[1] ?? '') } : { page: null, code: null };
}
