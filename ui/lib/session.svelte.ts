import { asApiError, onUnauthorized, request, type ApiError } from './api';
import { useLanguage } from './i18n.svelte';
import { prefs, type Lang } from './prefs.svelte';
import { localPath, router } from './router.svelte';

const LINK = 'signed-in-by-link';

export interface Person {
  id: string;
  name: string;
  email: string;
  role: string;
  permissions: string[];
  locale: Lang | null;
}

/** Who is signed in; `api` is where the endpoints of sign-in stand, `home` and `signIn` are pages. */
export class Session {
  me = $state.raw<Person | null>(null);
  ready = $state(false);
  failure = $state.raw<ApiError | null>(null);
  /** Set by a page that watches what ends every sign-in: it stays, and says itself when that has come. */
  watched = false;
  ended = $state(false);
  byLink = $state(sessionStorage.getItem(LINK) === '1');

  constructor(
    private readonly api: string,
    readonly home: string,
    readonly signIn: string,
  ) {
    onUnauthorized(() => this.lost());
  }

  async restore(): Promise<void> {
    this.failure = null;
    try {
      this.#enter(await request('GET', `${this.api}/users/me`));
    } catch (error) {
      const fault = asApiError(error);
      if (fault.status !== 401) this.failure = fault;
    }
    this.ready = true;
  }

  async login(email: string, password: string): Promise<void> {
    this.#enter(await request('POST', `${this.api}/auth/login`, { email, password }));
    this.#leaveSignIn();
  }

  async loginByLink(token: string): Promise<void> {
    this.#enter(await request('POST', `${this.api}/auth/link`, { token }));
    this.linkUsed(true);
    this.#leaveSignIn();
  }

  async logout(): Promise<void> {
    await request('POST', `${this.api}/auth/logout`).catch(asApiError);
    this.linkUsed(false);
    this.#forget();
    await router.go(this.signIn);
  }

  async update(change: { name?: string; locale?: Lang }): Promise<void> {
    this.me = await request('PATCH', `${this.api}/users/me`, change);
  }

  setPassword(change: { current?: string; new: string }): Promise<void> {
    return request('POST', `${this.api}/users/me/password`, change);
  }

  linkUsed(yes: boolean): void {
    this.byLink = yes;
    if (yes) sessionStorage.setItem(LINK, '1');
    else sessionStorage.removeItem(LINK);
  }

  may(permission: string): boolean {
    return this.me?.permissions.includes(permission) ?? false;
  }

  /** A person with an account, not a caller the server lets read because he sits at the machine. */
  get person(): boolean {
    return !!this.me?.email;
  }

  /** Switch the language here and, quietly, in the account. */
  language(lang: Lang): void {
    void useLanguage(lang);
    if (this.person) void this.update({ locale: lang }).catch(asApiError);
  }

  lost(): void {
    if (!this.me) return;
    if (this.watched) this.ended = true;
    else this.leave();
  }

  /** Go to sign in, and come back afterwards. */
  leave(): void {
    this.watched = this.ended = false;
    const back = router.url.pathname + router.url.search;
    this.#forget();
    router.replace(this.signInThen(back));
  }

  signInThen(back: string): string {
    return `${this.signIn}?next=${encodeURIComponent(back)}`;
  }

  /** What an entry does beside when somebody entered or left. */
  protected entered(): void {}
  protected forgotten(): void {}

  #forget(): void {
    this.me = null;
    this.forgotten();
  }

  #enter(me: Person): void {
    this.me = me;
    if (me.locale && !prefs.chosen) void useLanguage(me.locale);
    this.entered();
  }

  #leaveSignIn(): void {
    router.replace(localPath(router.query.get('next'), this.home));
  }
}
