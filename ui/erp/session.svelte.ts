import { asApiError, onUnauthorized, type ApiError } from '../lib/api';
import { useLanguage } from '../lib/i18n.svelte';
import { prefs, type Lang } from '../lib/prefs.svelte';
import { Resource } from '../lib/resource.svelte';
import { localPath, router } from '../lib/router.svelte';
import * as api from './api';
import type { Me, Page, Project } from './types';

const LINK = 'signed-in-by-link';

/** Who is signed in, and the list of projects that shell and pages share. */
class Session {
  me = $state.raw<Me | null>(null);
  ready = $state(false);
  failure = $state.raw<ApiError | null>(null);
  byLink = $state(sessionStorage.getItem(LINK) === '1');
  readonly projects = new Resource<Page<Project>>();

  async restore(): Promise<void> {
    this.failure = null;
    try {
      this.#enter(await api.me());
    } catch (error) {
      const fault = asApiError(error);
      if (fault.status !== 401) this.failure = fault;
    }
    this.ready = true;
  }

  async login(email: string, password: string): Promise<void> {
    this.#enter(await api.login(email, password));
    this.#leaveSignIn();
  }

  async loginByLink(token: string): Promise<void> {
    this.#enter(await api.loginByLink(token));
    this.linkUsed(true);
    this.#leaveSignIn();
  }

  async logout(): Promise<void> {
    await api.logout().catch(asApiError);
    this.linkUsed(false);
    this.#forget();
    await router.go('/sign-in');
  }

  linkUsed(yes: boolean): void {
    this.byLink = yes;
    if (yes) sessionStorage.setItem(LINK, '1');
    else sessionStorage.removeItem(LINK);
  }

  may(permission: string): boolean {
    return this.me?.permissions.includes(permission) ?? false;
  }

  /** Switch the language here and, quietly, in the account. */
  language(lang: Lang): void {
    void useLanguage(lang);
    if (this.me) void api.updateMe({ locale: lang }).then((me) => (this.me = me), asApiError);
  }

  /** Put a project's fresh state into the shared list. */
  refresh(project: Project): void {
    const list = this.projects.data;
    if (list) this.projects.data = { ...list, items: list.items.map((other) => (other.code === project.code ? project : other)) };
  }

  loadProjects(): Promise<void> {
    return this.projects.load((signal) => api.projects(null, signal));
  }

  lost(): void {
    if (!this.me) return;
    const back = router.url.pathname + router.url.search;
    this.#forget();
    router.replace(`/sign-in?next=${encodeURIComponent(back)}`);
  }

  #forget(): void {
    this.me = null;
    this.projects.data = undefined;
  }

  #enter(me: Me): void {
    this.me = me;
    if (me.locale && !prefs.chosen) void useLanguage(me.locale);
    void this.loadProjects();
  }

  #leaveSignIn(): void {
    router.replace(localPath(router.query.get('next'), '/projects'));
  }
}

export const session = new Session();
onUnauthorized(() => session.lost());
