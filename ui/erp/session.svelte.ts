import { Resource } from '../lib/resource.svelte';
import { Session } from '../lib/session.svelte';
import * as api from './api';
import type { Page, Project } from './types';

/** Who is signed in, and the list of projects that shell and pages share. */
class ErpSession extends Session {
  readonly projects = new Resource<Page<Project>>();

  /** Put a project's fresh state into the shared list. */
  refresh(project: Project): void {
    const list = this.projects.data;
    if (list) this.projects.data = { ...list, items: list.items.map((other) => (other.code === project.code ? project : other)) };
  }

  loadProjects(): Promise<void> {
    return this.projects.load((signal) => api.projects(null, signal));
  }

  protected override entered(): void {
    void this.loadProjects();
  }

  protected override forgotten(): void {
    this.projects.data = undefined;
  }
}

export const session = new ErpSession('/api', '/projects', '/sign-in');
