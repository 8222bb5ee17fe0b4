import { prefs } from '../lib/prefs.svelte';
import type { Project } from './types';

/** The project's name in the page's language, where it has one. */
export function projectName(project: Pick<Project, 'name' | 'name_en'>): string {
  return prefs.lang === 'en' && project.name_en ? project.name_en : project.name;
}

export const projectPath = (code: string): string => `/projects/${encodeURIComponent(code)}`;
